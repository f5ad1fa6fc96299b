//! No lock is held while Python may run, or be attached or detached: a thread that waits for such a
//! lock with the interpreter's own in hand would stop every thread for good.
//!
//! A file of its own, because a process has one logger.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rgunicorn_wsgi::pyo3::prelude::*;
use support::{Memory, app, get, text};

/// A logger that is Python code itself, as `logging` is, and lets other threads run in its midst.
struct InPython;

impl log::Log for InPython {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {
        Python::attach(|py| py.run(c"__import__('time').sleep(0.0005)", None, None).unwrap());
    }

    fn flush(&self) {}
}

#[test]
fn none_is_held_while_python_runs() {
    const THREADS: usize = 8;
    log::set_logger(&InPython).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    // All write to one stream: that of the first call, which belongs to whoever is served with it.
    let app = Arc::new(app("
errors = None
def app(environ, start_response):
    global errors
    errors = errors or environ['wsgi.errors']
    for stream in (errors, environ['wsgi.errors']):
        stream.write('a line\\nand a part of one')
        stream.flush()
        stream.write('and one for the end')
    start_response('200 OK', [])
    return iter([b'done'])
"));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..THREADS {
        let (app, sender) = (Arc::clone(&app), sender.clone());
        thread::spawn(move || {
            for _ in 0..25 {
                let (exchange, result) = app.call(get(&[]), Memory::default());
                result.unwrap();
                assert_eq!(text(&exchange), "done");
            }
            sender.send(()).unwrap();
        });
    }
    for _ in 0..THREADS {
        receiver.recv_timeout(Duration::from_secs(20)).expect("all threads come to their end");
    }
}
