//! What Python's threads are at, for the log: also when one of them is stuck with the interpreter's
//! lock.
//!
//! CPython's `faulthandler` writes the stacks. It reads the frames of threads without asking them,
//! and must not do so while they run: dumps by signal beside a thread that ran Python code ended
//! CPython 3.11, 3.12 and 3.13 by a segmentation fault, each within a hundred dumps. Whoever has
//! the interpreter's lock may look, since nobody else runs then. If the lock is not to be had, its
//! owner sits in C code, or it would have given the lock up within milliseconds: no frame moves
//! either, and a signal may do it, whose handler needs no lock.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal, raise};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::handler::Stack;

/// Takes the Python stacks of all threads. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Backtraces {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// In memory: a pipe could be full, and block a signal handler for ever.
    file: File,
    /// `faulthandler.dump_traceback` with its arguments: nothing is imported when it matters.
    dump: Py<PyAny>,
    arguments: Py<PyDict>,
    /// A thread of ours waits for the interpreter's lock, and has not got it.
    waiting: AtomicBool,
    /// One at a time.
    turn: Mutex<()>,
}

/// The kernel has not used it since Linux 1.x, nor do Python or gunicorn.
const SIGNAL: Signal = Signal::SIGSTKFLT;

/// How long the interpreter's lock is waited for. A thread that runs Python code gives it up after
/// 5 ms, so that only C code, or a hundred threads in a queue, keep it for longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// How much of a dump is kept. faulthandler stops after a hundred threads of a hundred frames.
const LIMIT_BYTES: usize = 64 << 10;

impl Backtraces {
    /// Prepares for dumps of this process; its forked children need their own.
    ///
    /// # Errors
    /// There is no `faulthandler`, or no descriptor is left.
    pub(crate) fn install(py: Python<'_>) -> PyResult<Self> {
        let file = File::from(
            memfd_create(c"backtraces", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?,
        );
        let faulthandler = py.import("faulthandler")?;
        let arguments = PyDict::new(py);
        arguments.set_item("file", file.as_raw_fd())?;
        arguments.set_item("all_threads", true)?;
        faulthandler.call_method("register", (SIGNAL as i32,), Some(&arguments))?;
        let inner = Inner {
            file,
            dump: faulthandler.getattr("dump_traceback")?.unbind(),
            arguments: arguments.unbind(),
            waiting: AtomicBool::new(false),
            turn: Mutex::new(()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The stacks of all threads that run Python code, or called something that does not return:
    /// per thread its `threading.get_ident()` in hexadecimal, files, lines and functions, the most
    /// recent call first; 64 KiB at most.
    ///
    /// It is called by a thread that is not attached to Python, and takes half a second if the
    /// interpreter's lock is not to be had.
    ///
    /// # Errors
    /// The application has put its own handler in place of ours, or there is no room for a thread.
    pub(crate) fn dump(&self) -> io::Result<Vec<Stack>> {
        let inner = &*self.inner;
        let _turn = inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        inner.file.set_len(0)?;
        (&inner.file).rewind()?;
        let by_signal = !self.dump_attached()?;
        if by_signal {
            dump_by_signal()?;
        }
        let mut dump = vec![0; LIMIT_BYTES];
        let length = inner.file.read_at(&mut dump, 0)?;
        dump.truncate(length);
        if by_signal && dump.is_empty() {
            return Err(io::Error::other(format!("the application handles {SIGNAL}")));
        }
        Ok(stacks(&String::from_utf8_lossy(&dump)))
    }

    /// Lets a thread of its own dump as soon as it has the interpreter's lock. `false`: it has not
    /// got it in time, or an earlier one still waits; neither will dump any more.
    fn dump_attached(&self) -> io::Result<bool> {
        if self.inner.waiting.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        // Whoever sets it first has the file.
        let decided = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::sync_channel(1);
        let (inner, theirs) = (Arc::clone(&self.inner), Arc::clone(&decided));
        let dump = move || {
            let result = Python::try_attach(|py| {
                inner.waiting.store(false, Ordering::Relaxed);
                if theirs.swap(true, Ordering::Relaxed) {
                    return Ok(());
                }
                inner.call_faulthandler(py)
            });
            let result = result.unwrap_or_else(|| {
                inner.waiting.store(false, Ordering::Relaxed);
                // No signal then: the frames are being taken down.
                Err(io::Error::other("Python is ending"))
            });
            // Nobody listens any more if it came too late.
            sender.send(result).unwrap_or_default();
        };
        let spawned = thread::Builder::new().name("backtrace".to_owned()).spawn(dump);
        spawned.inspect_err(|_| self.inner.waiting.store(false, Ordering::Relaxed))?;
        match receiver.recv_timeout(PATIENCE) {
            Ok(result) => result.map(|()| true),
            // It has just got the lock, and writes.
            Err(_) if decided.swap(true, Ordering::Relaxed) => {
                let result = receiver.recv_timeout(PATIENCE);
                result.map_err(|_| io::ErrorKind::TimedOut)?.map(|()| true)
            }
            Err(_) => Ok(false),
        }
    }
}

impl Inner {
    fn call_faulthandler(&self, py: Python<'_>) -> io::Result<()> {
        let arguments = self.arguments.bind(py);
        let result = self.dump.call(py, (), Some(arguments));
        result.map(drop).map_err(|error| io::Error::other(error.to_string()))
    }
}

/// The handler runs on this thread, before `raise` returns: there is nothing to wait for, and no
/// thread of the application is interrupted in a system call.
fn dump_by_signal() -> io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(SIGNAL);
    signals.thread_unblock()?;
    Ok(raise(SIGNAL)?)
}

/// A dump thread by thread, without those that only wait to run Python code: that which dumped,
/// for one.
fn stacks(dump: &str) -> Vec<Stack> {
    let threads = dump.split("\n\n").map(str::trim_end);
    let threads = threads.filter(|thread| !thread.ends_with(NO_FRAME));
    threads.filter_map(|thread| Some(Stack::new(ident(thread)?, thread.to_owned()))).collect()
}

/// Of the thread whose stack this is: `Thread 0x00007f0a83b6c740 (most recent call first):`, or
/// `Current thread 0x…`.
fn ident(stack: &str) -> Option<u64> {
    let (_, number) = stack.split_once("hread 0x")?;
    let end = number.find(|character: char| !character.is_ascii_hexdigit());
    u64::from_str_radix(number.get(..end?)?, 16).ok()
}

/// As faulthandler says it.
const NO_FRAME: &str = "<no Python frame>";

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::MutexGuard;
    use std::time::Instant;

    use super::*;

    fn text(stacks: &[Stack]) -> String {
        stacks.iter().flat_map(|stack| [stack.text.as_str(), "\n"]).collect()
    }

    fn run(py: Python<'_>, code: &str) {
        py.run(&CString::new(code).unwrap(), None, None).unwrap();
    }

    /// One test at a time, if all of them run in one process: the signal's handler is the process's.
    fn install() -> (Backtraces, MutexGuard<'static, ()>) {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Python::initialize();
        (Python::attach(|py| Backtraces::install(py).unwrap()), turn)
    }

    /// Dumps until one has all of these, each of which may be a moment late.
    fn expect(backtraces: &Backtraces, parts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let dump = text(&backtraces.dump().unwrap_or_default());
            if parts.iter().all(|part| dump.contains(part)) {
                return dump;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{dump}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn threads_that_run_or_wait_are_seen() {
        let (backtraces, _turn) = install();
        Python::attach(|py| {
            run(
                py,
                "import threading\n\
                 done = threading.Event()\n\
                 def waits():\n    done.wait()\n\
                 def runs():\n    while not done.is_set():\n        pass\n\
                 for target in waits, runs:\n    \
                     threading.Thread(target=target, daemon=True).start()\n",
            );
        });
        let dump = expect(
            &backtraces,
            &["File \"<string>\", line 4 in waits", "in runs", "(most recent call first):"],
        );
        assert!(!dump.contains(NO_FRAME) && !dump.contains("Current thread"), "{dump}");
        // Hundreds of dumps beside a thread that runs do no harm, and leave nothing of each other.
        let length = dump.len();
        for _ in 0..300 {
            let dump = text(&backtraces.clone().dump().unwrap());
            assert!(dump.len() < 2 * length, "{dump}");
        }
        Python::attach(|py| run(py, "done.set()"));
    }

    #[test]
    fn a_thread_that_keeps_the_lock_is_seen() {
        let (backtraces, _turn) = install();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let fd = theirs.as_raw_fd();
        let code = format!(
            "import ctypes\n\
             def stuck():\n    ctypes.PyDLL(None).recv({fd}, bytes(1), 1, 0)\n\
             def view():\n    stuck()\n\
             view()"
        );
        let keeper = thread::spawn(move || Python::attach(|py| run(py, &code)));
        let stack = "line 3 in stuck\n  File \"<string>\", line 5 in view\n  File \"<string>\"";
        expect(&backtraces, &[stack]);
        // The lock is still not to be had, and no second thread joins that which waits for it.
        assert!(backtraces.inner.waiting.load(Ordering::Relaxed));
        assert!(text(&backtraces.dump().unwrap()).contains(stack));
        let written = backtraces.inner.file.metadata().unwrap().len();
        ours.write_all(b"!").unwrap();
        keeper.join().unwrap();
        // That one comes too late, keeps quiet, and makes room for the next.
        while backtraces.inner.waiting.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        assert_eq!(backtraces.inner.file.metadata().unwrap().len(), written);
    }

    #[test]
    fn what_is_dropped_from_a_dump() {
        let dump = "Thread 0x1 (most recent call first):\n  File \"a\", line 1 in b\n\n\
                    Thread 0x2 (most recent call first):\n  <no Python frame>\n\n\
                    Current thread 0x3 (most recent call first):\n  <no Python frame>\n";
        let text = "Thread 0x1 (most recent call first):\n  File \"a\", line 1 in b";
        assert_eq!(stacks(dump), [Stack::new(1, text.to_owned())]);
        assert!(stacks("").is_empty());
        // From Python 3.14 on, and cut by the limit.
        let named = "Current thread 0x00007f0a83b6c740 [main] (most recent call first):\n  File";
        assert_eq!(stacks(named), [Stack::new(0x7f0a_83b6_c740, named.to_owned())]);
        for broken in ["Thread 0x", "Thread 0x1", "Thread 0xg (", "Thread 0x11111111111111111 ("] {
            assert!(stacks(broken).is_empty(), "{broken}");
        }
    }
}
