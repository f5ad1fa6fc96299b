//! What this process got from the one that started it, and what it leaves to its successor: sockets,
//! and word of who is who.
//!
//! Nothing else in this crate reads the environment or changes it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use socket2::{Domain, SockRef, Socket, Type};

use crate::shared::SharedPage;
use crate::{Mailbox, Pid, Program};

/// Descriptors that cannot be taken over.
#[derive(Debug, thiserror::Error)]
#[error("{variable}={} cannot be taken over", value.to_string_lossy())]
pub struct InheritError {
    variable: &'static str,
    value: OsString,
    source: io::Error,
}

/// The sockets that this process was started with.
#[derive(Debug)]
pub(crate) enum Sockets {
    /// By systemd, in the protocol of `sd_listen_fds(3)`: they are the ones to listen at, and no
    /// others.
    Activated(Vec<Socket>),
    /// None that the environment tells of.
    None,
    /// By an arbiter that replaces itself, in gunicorn's protocol.
    Passed(Vec<Socket>),
}

/// Takes over the sockets of which the environment tells.
///
/// # Errors
///
/// The environment tells of something else than stream sockets.
pub(crate) fn sockets() -> Result<Sockets, InheritError> {
    let variable = |name: &'static str| env::var_os(name).map(|value| (name, value));
    let fail = |variable, value: OsString| move |source| InheritError { variable, value, source };
    if number::<i32>(LISTEN_PID) == Some(Pid::this().as_raw()) {
        if let Some((name, value)) = variable(LISTEN_FDS) {
            let sockets = systemds(&value).map_err(fail(name, value))?;
            if !sockets.is_empty() {
                return Ok(Sockets::Activated(sockets));
            }
        }
    }
    match variable(GUNICORN_FD) {
        Some((name, value)) if predecessor().is_some() => {
            Ok(Sockets::Passed(gunicorns(&value).map_err(fail(name, value))?))
        }
        Some(_) | None => Ok(Sockets::None),
    }
}

/// The mailbox of the arbiter before this one, with whatever lies in it.
///
/// # Errors
///
/// The environment tells of something else.
pub(crate) fn mailbox() -> Result<Option<Mailbox>, InheritError> {
    let ends = pair(RGUNICORN_MAILBOX_FD, |socket| Ok(socket.r#type()? == Type::SEQPACKET))?;
    Ok(ends.map(|[post, collect]| Mailbox::from_fds(post, collect)))
}

/// The shared page of the arbiter before this one, and the one that it has for this one.
///
/// # Errors
///
/// The environment tells of what is not there.
pub(crate) fn pages() -> Result<Option<[OwnedFd; 2]>, InheritError> {
    pair(RGUNICORN_PAGES_FD, |_| Ok(true))
}

/// Two descriptors, as the environment tells and `is_right` wants them.
fn pair(
    variable: &'static str,
    is_right: impl Fn(&Socket) -> io::Result<bool>,
) -> Result<Option<[OwnedFd; 2]>, InheritError> {
    let Some(value) = env::var_os(variable) else { return Ok(None) };
    let claim = || -> io::Result<[OwnedFd; 2]> {
        let mut descriptors = Vec::new();
        for number in numbers(&value)? {
            let descriptor = take(number)?;
            if !is_right(&descriptor)? {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            descriptors.push(OwnedFd::from(descriptor));
        }
        descriptors.try_into().map_err(|_| io::ErrorKind::InvalidInput.into())
    };
    let claimed = claim();
    claimed.map(Some).map_err(|source| InheritError { variable, value, source })
}

/// Where the service manager wants to be told what goes on.
pub(crate) fn notify_socket() -> Option<OsString> {
    env::var_os(NOTIFY_SOCKET).filter(|name| !name.is_empty())
}

/// The time after which the service manager takes silence for death, as `sd_watchdog_enabled(3)`.
pub(crate) fn watchdog() -> Option<Duration> {
    let is_ours = number::<i32>(WATCHDOG_PID).is_none_or(|pid| pid == Pid::this().as_raw());
    number(WATCHDOG_USEC).filter(|_| is_ours).map(Duration::from_micros)
}

/// Leaves to the program that this process is about to become what an arbiter listens at, and what
/// its workers share.
///
/// # Errors
///
/// A descriptor cannot be kept open.
pub(crate) fn leave(
    command: &mut Command,
    predecessor: Pid,
    listeners: &[BorrowedFd<'_>],
    is_activated: bool,
    shared: Option<(&Mailbox, &SharedPage)>,
) -> io::Result<()> {
    let ends = shared.map_or(Vec::new(), |(mailbox, _)| mailbox.as_fds().to_vec());
    let pages = shared.and_then(|(_, page)| page.files());
    let pages = pages.map_or(Vec::new(), |pages| pages.to_vec());
    for descriptor in listeners.iter().chain(&ends).chain(&pages) {
        SockRef::from(descriptor).set_cloexec(false)?;
    }
    let list = |descriptors: &[BorrowedFd<'_>]| {
        let numbers = descriptors.iter().map(|descriptor| descriptor.as_raw_fd().to_string());
        numbers.collect::<Vec<_>>().join(",")
    };
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.env(GUNICORN_PID, predecessor.to_string());
    let in_order =
        listeners.iter().map(AsRawFd::as_raw_fd).eq((FIRST_DESCRIPTOR..).take(listeners.len()));
    if is_activated && in_order {
        command.env(LISTEN_PID, Pid::this().to_string());
        command.env(LISTEN_FDS, listeners.len().to_string());
    } else {
        command.env(GUNICORN_FD, list(listeners));
    }
    for (name, descriptors) in [(RGUNICORN_MAILBOX_FD, ends), (RGUNICORN_PAGES_FD, pages)] {
        if !descriptors.is_empty() {
            command.env(name, list(&descriptors));
        }
    }
    if env::var_os(WATCHDOG_PID).is_some() {
        command.env(WATCHDOG_PID, Pid::this().to_string());
    }
    Ok(())
}

impl Program {
    /// The program that this process was started as: its arguments, directory and environment as
    /// they are now.
    ///
    /// The file is looked for where it was found then, and not what the process runs: it may be
    /// exchanged for another version.
    ///
    /// # Errors
    ///
    /// The current directory is gone, or the program's file is.
    pub fn current() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let (directory, environment) = (env::current_dir()?, env::vars_os());
        let name = arguments.next().unwrap_or_default();
        let is_there = |name: &OsStr| {
            let has_slash = name.as_bytes().contains(&b'/');
            let path = env::var_os("PATH").unwrap_or_default();
            let mut candidates = env::split_paths(&path).map(|folder| folder.join(name));
            if has_slash {
                directory.join(name).is_file()
            } else {
                candidates.any(|file| file.is_file())
            }
        };
        // A program may be started under any name.
        let file = if is_there(&name) { name.clone() } else { env::current_exe()?.into() };
        Ok(Self::new(file, directory, environment).name(name).args(arguments))
    }
}

/// The arbiter that this one is to replace.
pub(crate) fn predecessor() -> Option<Pid> {
    // To kill(2) and waitpid(2), zero and below are groups of processes.
    number(GUNICORN_PID).filter(|pid| *pid > 0).map(Pid::from_raw)
}

/// Takes over a descriptor, which from now on closes on `exec`, as a socket that listens or is
/// bound and can.
///
/// # Errors
///
/// It is not open, was not there at the start, or is no stream socket of a family known here.
pub(crate) fn claim(number: RawFd) -> io::Result<Socket> {
    let socket = take(number)?;
    let is_stream = socket.r#type()? == Type::STREAM;
    if !is_stream || ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&socket.domain()?) {
        let why = "it is no stream socket of IPv4, IPv6 or Unix";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(socket)
}

/// Takes over a descriptor, whatever it may be. Whoever opens descriptors in this process lets
/// them close on `exec`, so that they are told from those that were there at the start.
fn take(number: RawFd) -> io::Result<Socket> {
    let invalid = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    #[expect(unsafe_code, reason = "nix wants an owner for a descriptor that may not be open")]
    // SAFETY: F_GETFD only reads, whatever the number stands for.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(invalid("this process was not started with it"));
    }
    #[expect(unsafe_code, reason = "a number in a text says which descriptor is meant")]
    // SAFETY: it is open and has come through `exec`, for whatever Rust or Python open in this
    // process closes then. So it was there at the start and nobody owns it; nor does a second
    // `claim`, as the first one makes it close on `exec`.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(number) });
    socket.set_cloexec(true)?;
    Ok(socket)
}

/// Takes out of the environment what was meant for the arbiter: a program that an application
/// starts would else take its descriptors for sockets.
///
/// Call it in a worker before it does anything.
pub(crate) fn forget() {
    for name in VARIABLES.iter().filter(|name| env::var_os(name).is_some()) {
        #[expect(unsafe_code, reason = "other threads may read the environment meanwhile")]
        // SAFETY: after a fork a process has one thread, and the worker has not started another.
        unsafe {
            env::remove_var(name);
        }
    }
}

/// As `sd_listen_fds(3)`: so many from 3 on.
fn systemds(count: &OsStr) -> io::Result<Vec<Socket>> {
    let count = parse::<i32>(count).filter(|count| (0..=DESCRIPTORS_MAX).contains(count));
    let count = count.ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
    (FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + count).map(claim_from_list).collect()
}

fn gunicorns(list: &OsStr) -> io::Result<Vec<Socket>> {
    numbers(list)?.into_iter().map(claim_from_list).collect()
}

/// As gunicorn writes them: between commas, maybe none.
fn numbers(list: &OsStr) -> io::Result<Vec<RawFd>> {
    let texts = list.as_bytes().split(|byte| *byte == b',').filter(|text| !text.is_empty());
    let number = |text| {
        let number = parse(OsStr::from_bytes(text)).filter(|number| *number >= FIRST_DESCRIPTOR);
        number.ok_or(io::Error::from(io::ErrorKind::InvalidInput))
    };
    texts.map(number).collect()
}

fn claim_from_list(number: RawFd) -> io::Result<Socket> {
    claim(number)
        .map_err(|error| io::Error::new(error.kind(), format!("descriptor {number}: {error}")))
}

fn number<N: std::str::FromStr>(variable: &str) -> Option<N> {
    parse(&env::var_os(variable)?)
}

fn parse<N: std::str::FromStr>(text: &OsStr) -> Option<N> {
    text.to_str()?.trim().parse().ok()
}

const LISTEN_FDS: &str = "LISTEN_FDS";
const LISTEN_PID: &str = "LISTEN_PID";
const GUNICORN_FD: &str = "GUNICORN_FD";
const GUNICORN_PID: &str = "GUNICORN_PID";

const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
const RGUNICORN_MAILBOX_FD: &str = "RGUNICORN_MAILBOX_FD";
const RGUNICORN_PAGES_FD: &str = "RGUNICORN_PAGES_FD";
const WATCHDOG_PID: &str = "WATCHDOG_PID";
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";

/// What one arbiter or its starter leaves to another, and to nobody else.
pub(crate) const VARIABLES: &[&str] = &[
    GUNICORN_FD,
    GUNICORN_PID,
    LISTEN_FDS,
    "LISTEN_FDNAMES",
    LISTEN_PID,
    RGUNICORN_MAILBOX_FD,
    RGUNICORN_PAGES_FD,
];

/// `SD_LISTEN_FDS_START`: the first after the standard streams.
const FIRST_DESCRIPTOR: RawFd = 3;
/// More than any unit has.
const DESCRIPTORS_MAX: i32 = 1024;
