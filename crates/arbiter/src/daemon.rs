//! Into the background: away from the terminal, its session and its hang-up.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};

use nix::sys::stat::{Mode, umask};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::{Fork, Forker};

/// Which process one is after [`detach`](Self::detach).
///
/// ```no_run
/// use rgunicorn_arbiter::{Daemon, SystemForker};
///
/// if Daemon::detach(&mut SystemForker, false)? == Daemon::Launcher {
///     return Ok(()); // The shell has its prompt back.
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "one of the two is to end"]
pub enum Daemon {
    /// The process in the background.
    Background,
    /// A process on the way there, the first one among them: it is to end, with success.
    Launcher,
}

impl Daemon {
    /// Goes to the background as gunicorn does: two forks, a session of its own in between, the umask
    /// 022, standard streams at `/dev/null`. With `keep_stdio`, standard output and error stay where
    /// they are unless that is a terminal.
    ///
    /// Call it before there are threads, and before descriptors or locks belong to the process's id.
    /// An arbiter that another one starts to be replaced by it is there already, and must remain its
    /// child: see [`Arbiter::predecessor`](crate::Arbiter::predecessor).
    ///
    /// # Errors
    ///
    /// What the system says; the caller is then one of the processes on the way.
    pub fn detach(forker: &mut impl Forker, keep_stdio: bool) -> io::Result<Self> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        if let Fork::Parent { .. } = forker.fork()? {
            return Ok(Self::Launcher);
        }
        setsid()?;
        // Who leads a session gets a terminal by opening one; this one's child does not.
        if let Fork::Parent { .. } = forker.fork()? {
            return Ok(Self::Launcher);
        }
        umask(Mode::from_bits_truncate(0o022));
        redirect(&null, keep_stdio)?;
        Ok(Self::Background)
    }
}

fn redirect(null: &File, keep_stdio: bool) -> io::Result<()> {
    dup2_stdin(null)?;
    if !keep_stdio || io::stdout().is_terminal() {
        dup2_stdout(null)?;
    }
    if !keep_stdio || io::stderr().is_terminal() {
        dup2_stderr(null)?;
    }
    Ok(())
}
