//! What this process got from the one that started it: sockets, and word of who that was.
//!
//! Nothing else in this crate reads the environment or changes it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::libc;
use socket2::{Domain, Socket, Type};

use crate::Pid;

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
    let family = socket.domain()?;
    if socket.r#type()? != Type::STREAM
        || ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&family)
    {
        return Err(invalid("it is no stream socket of IPv4, IPv6 or Unix"));
    }
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

/// As gunicorn: numbers between commas.
fn gunicorns(numbers: &OsStr) -> io::Result<Vec<Socket>> {
    let numbers = numbers.as_bytes().split(|byte| *byte == b',').filter(|text| !text.is_empty());
    let number =
        |text| parse::<RawFd>(OsStr::from_bytes(text)).filter(|number| *number >= FIRST_DESCRIPTOR);
    let claim = |text| {
        let number = number(text).ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        claim_from_list(number)
    };
    numbers.map(claim).collect()
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

/// What is meant for the arbiter alone.
const VARIABLES: &[&str] = &[GUNICORN_FD, GUNICORN_PID, LISTEN_FDS, "LISTEN_FDNAMES", LISTEN_PID];

/// `SD_LISTEN_FDS_START`: the first after the standard streams.
const FIRST_DESCRIPTOR: RawFd = 3;
/// More than any unit has.
const DESCRIPTORS_MAX: i32 = 1024;
