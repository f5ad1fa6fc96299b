//! What a row of the settings table holds.

use std::borrow::Cow;
use std::fmt;

use super::{Raw, Settings};

/// Everything there is to know about one setting: parser, help and reference page read it here.
#[derive(Debug)]
#[non_exhaustive]
pub struct Definition {
    /// The name in a config file, and everywhere in the code.
    pub name: &'static str,
    /// Where help and reference put it.
    pub section: Section,
    /// Spellings on the command line, the short one first; empty for config files only.
    pub flags: &'static [&'static str],
    /// What follows the flag.
    pub takes: Takes,
    /// The environment variable that gives another default.
    pub environment: Option<Environment>,
    /// Judges a value and stores it.
    pub apply: fn(&Raw, &mut Settings) -> Result<(), Rejection>,
    /// The value as Python prints it, for help, reference and `--print-config`.
    pub show: fn(&Settings) -> String,
    /// One line for `--help`.
    pub help: &'static str,
    /// The rest of the story, for the reference page.
    pub doc: &'static str,
}

impl Definition {
    /// The default as help and reference show it.
    pub(super) fn default(&self, defaults: &Settings) -> String {
        let default = (self.show)(defaults);
        match self.environment {
            Some(environment) => format!("{default}, or {}", environment.shown),
            None => default,
        }
    }
}

/// A default that the environment may give.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// The variable's name. Set but empty counts as not set.
    pub variable: &'static str,
    /// How its text becomes a value.
    pub value: fn(&std::ffi::OsStr) -> Raw,
    /// The default that it gives, as help shows it.
    pub shown: &'static str,
}

/// A setting or flag of gunicorn's that is known, and refused by name.
///
/// Ignoring it would be worse than refusing: a server that silently runs without TLS, or as root,
/// is not the one that was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub struct NotYet {
    /// The name in a config file.
    pub name: &'static str,
    /// Spellings on the command line.
    pub flags: &'static [&'static str],
    /// What follows the flag.
    pub takes: Takes,
    /// gunicorn's default as a Python literal: a config file that says just this asks for nothing.
    pub default: &'static str,
    /// Another value that comes to the same.
    pub synonym: Option<&'static str>,
}

/// A setting or flag of gunicorn's that asks for what is the case here anyway, whatever its value: it
/// is taken, and changes nothing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Needless {
    /// The name in a config file.
    pub name: &'static str,
    /// Spellings on the command line.
    pub flags: &'static [&'static str],
    /// What follows the flag.
    pub takes: Takes,
    /// What is the case, for the reference.
    pub reason: &'static str,
}

/// What follows a flag on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A value, and each occurrence adds one; holds the placeholder shown in help.
    Many(&'static str),
    /// A value or none, as argparse's `nargs='?'`.
    Maybe,
    /// Nothing: the flag itself says yes.
    Nothing,
    /// Nothing: the flag itself says no.
    Off,
    /// A value, and the last occurrence counts; holds the placeholder shown in help.
    One(&'static str),
}

/// A heading of help and reference, in the order in which they appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What is served, and where the other settings come from.
    ConfigFile,
    /// Listeners.
    ServerSocket,
    /// Processes and their time limits.
    WorkerProcesses,
    /// Limits on what a client may send.
    Security,
    /// Where the process runs.
    ServerMechanics,
    /// Error log and access log.
    Logging,
    /// Aids for the operator.
    Debugging,
}

impl Section {
    /// All sections, in the order of help.
    pub const ALL: [Self; 7] = [
        Self::ConfigFile,
        Self::ServerSocket,
        Self::WorkerProcesses,
        Self::Security,
        Self::ServerMechanics,
        Self::Logging,
        Self::Debugging,
    ];
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigFile => "Config file",
            Self::ServerSocket => "Server socket",
            Self::WorkerProcesses => "Worker processes",
            Self::Security => "Security",
            Self::ServerMechanics => "Server mechanics",
            Self::Logging => "Logging",
            Self::Debugging => "Debugging",
        })
    }
}

/// Why a parser turned a value down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It makes no sense; says what does.
    Invalid(Cow<'static, str>),
    /// gunicorn takes it; says what to use instead.
    NotSupported(&'static str),
}

impl Rejection {
    /// A rejection that tells what is allowed.
    pub(super) fn allowed(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(what.into())
    }
}
