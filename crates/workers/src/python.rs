//! What CPython needs of a server that forks and interrupts by itself.

use std::cell::Cell;
use std::ffi::c_long;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{ForkResult, fork};
use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyCFunction, PyType};
use rgunicorn_arbiter::{Detach, Fork, Forker, Pid, SignalMask};

/// Forks as `os.fork` does: attached, and between the hooks that keep the interpreter's locks
/// whole, re-seed `random` and run the application's `os.register_at_fork` callbacks. Needed as
/// soon as the arbiter's own process has started Python.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PythonForker;

impl Forker for PythonForker {
    fn fork(&mut self) -> io::Result<Fork> {
        // One closure around both sides: no attachment crosses the fork half done.
        Python::attach(|_| {
            before_fork();
            let forked = fork_here();
            match &forked {
                Ok(Fork::Child) => after_fork_in_child(),
                Ok(Fork::Parent { .. }) | Err(_) => after_fork_in_parent(),
            }
            forked
        })
    }
}

#[expect(unsafe_code, reason = "there is no safe fork")]
fn fork_here() -> io::Result<Fork> {
    // SAFETY: the arbiter is single-threaded while it forks, as far as it is ours: threads that an
    // application started before are treated as CPython itself treats them, by its hooks.
    match unsafe { fork() }? {
        ForkResult::Child => Ok(Fork::Child),
        ForkResult::Parent { child } => Ok(Fork::Parent { child: Pid::from_raw(child.as_raw()) }),
    }
}

#[expect(unsafe_code, reason = "CPython has these hooks for servers that fork themselves")]
fn before_fork() {
    // SAFETY: the caller is attached; one of the two other hooks follows in each process.
    unsafe { ffi::PyOS_BeforeFork() }
}

#[expect(unsafe_code, reason = "CPython has these hooks for servers that fork themselves")]
fn after_fork_in_child() {
    // SAFETY: follows `before_fork` on the same, attached thread, the only one of the child.
    unsafe { ffi::PyOS_AfterFork_Child() }
}

#[expect(unsafe_code, reason = "CPython has these hooks for servers that fork themselves")]
fn after_fork_in_parent() {
    // SAFETY: follows `before_fork` on the same, attached thread.
    unsafe { ffi::PyOS_AfterFork_Parent() }
}

/// Starts one of Python's own threads, so that names, `threading.local` and debuggers work as the
/// application expects. The interpreter does not wait for it at its end, as a call that never
/// returns would keep the process alive.
pub(crate) fn spawn_thread(
    py: Python<'_>,
    name: &str,
    run: Box<dyn FnOnce() + Send>,
) -> PyResult<()> {
    let run = Mutex::new(Some((Alive::begin(), run)));
    let target = PyCFunction::new_closure(py, None, None, move |_, _| {
        let run = run.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((_alive, run)) = run {
            run();
        }
    })?;
    let options = [("name", name.into_pyobject(py)?.into_any()), ("target", target.into_any())];
    let options = options.into_py_dict(py)?;
    options.set_item("daemon", true)?;
    py.import("threading")?.getattr("Thread")?.call((), Some(&options))?.call_method0("start")?;
    Ok(())
}

/// Whether threads of a worker that has ended are still in its application.
///
/// The interpreter must not be finalized then: when such a thread wants to go on, CPython before 3.14
/// ends it by `pthread_exit`, which unwinds through frames of Rust and aborts the process, or meets
/// what is already gone. Do what has to be done at the end, then end the process at once.
pub fn has_left_threads() -> bool {
    ALIVE.load(Ordering::SeqCst) > 0
}

/// Counts a thread until it is back in Python's own code.
struct Alive;

impl Alive {
    fn begin() -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// Makes `SIGABRT`, by which a worker is ended that hangs, or is to stop at once, raise
/// `SystemExit` in the midst of the request, as gunicorn does: its traceback tells where the
/// application was, and the client gets a 500. A call that never returns to the interpreter is killed a second later.
///
/// The flag says that it happened.
pub(crate) fn raise_on_abort(py: Python<'_>) -> PyResult<Arc<AtomicBool>> {
    let aborted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&aborted);
    let handler = PyCFunction::new_closure(py, None, None, move |_, _| -> PyResult<()> {
        flag.store(true, Ordering::Relaxed);
        Err(PySystemExit::new_err(1))
    })?;
    let signal = py.import("signal")?;
    signal.call_method1("signal", (signal.getattr("SIGABRT")?, handler))?;
    Ok(aborted)
}

/// Lets processes that the application forks, by `multiprocessing` or `os.fork`, be processes of their
/// own: they neither beat for this worker nor heed the signals that are meant for it, and one that
/// runs on into the server is ended there. For a worker, before it loads the application.
///
/// # Errors
/// Python refuses, as it has no `os.register_at_fork`.
pub fn detach_forks(py: Python<'_>, detach: Detach) -> PyResult<()> {
    // What is sent to the child before it is cut off waits, rather than to be lost in a handler.
    let before = PyCFunction::new_closure(py, None, None, |_, _| -> PyResult<()> {
        MASK.set(Some(SignalMask::block_all()?));
        Ok(())
    })?;
    let after_in_parent = PyCFunction::new_closure(py, None, None, |_, _| drop(MASK.take()))?;
    let after_in_child = PyCFunction::new_closure(py, None, None, move |_, _| -> PyResult<()> {
        IS_FORKED.store(true, Ordering::Relaxed);
        let cut = detach.here();
        drop(MASK.take());
        Ok(cut?)
    })?;
    let hooks = [
        ("before", before),
        ("after_in_parent", after_in_parent),
        ("after_in_child", after_in_child),
    ];
    py.import("os")?.call_method("register_at_fork", (), Some(&hooks.into_py_dict(py)?))?;
    Ok(())
}

thread_local! {
    /// Of a thread that forks.
    static MASK: Cell<Option<SignalMask>> = const { Cell::new(None) };
}

/// Ends a process that the application forked, and that comes out of the application: its client, and
/// all others, are the worker's.
pub(crate) fn end_if_forked() {
    if !IS_FORKED.load(Ordering::Relaxed) {
        return;
    }
    log::warn!(
        "Process {}, forked by the application, ran on into the server, and is ended",
        Pid::this()
    );
    Python::attach(|py| {
        let exit = py.import("os").and_then(|os| os.call_method1("_exit", (1,)));
        debug_assert!(exit.is_err(), "os._exit does not return");
    });
}

/// Whether this process was forked from a worker by what runs in it.
static IS_FORKED: AtomicBool = AtomicBool::new(false);

/// Makes the thread raise an exception of this class before its next bytecode; `None` takes back
/// one that it has not raised yet. `false`: no thread of this ident runs Python.
///
/// The ident is that of `threading.get_ident()`.
pub(crate) fn set_async_exception(
    _py: Python<'_>,
    ident: u64,
    exception: Option<&Bound<'_, PyType>>,
) -> bool {
    // Declared as signed; a pthread_t, which it is, has no use for the highest bit.
    let Ok(ident) = c_long::try_from(ident) else { return false };
    let exception = exception.map_or(ptr::null_mut(), Bound::as_ptr);
    #[expect(unsafe_code, reason = "PyO3 has no safe function for it")]
    // SAFETY: the caller is attached; the class is null or a live object, to which CPython takes a
    // reference of its own; an ident that no thread has is looked for in vain.
    let threads = unsafe { ffi::PyThreadState_SetAsyncExc(ident, exception) };
    threads > 0
}
