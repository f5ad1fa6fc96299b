//! The program that replaces this one in an upgrade.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// What an arbiter executes on USR2 to be replaced: see [`Options::upgrade`](crate::Options::upgrade).
///
/// ```
/// use rgunicorn_arbiter::{Options, Program};
///
/// // Before anything changes arguments, directory or environment.
/// let options = Options::new(4).upgrade(Some(Program::current()?));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// A path, relative to `directory`; without a slash it is looked for along the `PATH`.
    file: OsString,
    /// What the program finds as its own name.
    name: OsString,
    arguments: Vec<OsString>,
    directory: PathBuf,
    /// All of it; what concerns arbiters is replaced.
    environment: Vec<(OsString, OsString)>,
}

impl Program {
    /// This program in this directory with these variables and no others; see also
    /// [`current`](Self::current).
    ///
    /// A path is looked up when it is executed, so that the file may have been exchanged by then.
    pub fn new(
        file: impl Into<OsString>,
        directory: impl Into<PathBuf>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let file = file.into();
        let environment = environment.into_iter().collect();
        let (name, arguments) = (file.clone(), Vec::new());
        Self { file, name, arguments, directory: directory.into(), environment }
    }

    /// The same under this name, which is otherwise that of the file.
    #[must_use]
    pub fn name(mut self, name: impl Into<OsString>) -> Self {
        self.name = name.into();
        self
    }

    /// The same with these arguments, beyond the name.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    /// Turns this process into the program, with what `prepare` adds. Returns only when it fails.
    pub(crate) fn execute(
        &self,
        prepare: impl FnOnce(&mut Command) -> io::Result<()>,
    ) -> io::Error {
        let mut command = Command::new(&self.file);
        command.arg0(&self.name).args(&self.arguments).current_dir(&self.directory);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        match prepare(&mut command) {
            Ok(()) => command.exec(),
            Err(error) => error,
        }
    }

    pub(crate) fn file(&self) -> &OsStr {
        &self.file
    }
}
