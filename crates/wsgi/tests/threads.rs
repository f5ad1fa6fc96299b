//! Applications that use a request from more than one thread.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use rgunicorn_wsgi::{App, EnvironOptions, Exchange, Request, ResponseHead};
use std::io;
use std::sync::{Arc, Barrier};
use support::{Memory, app, get, indented, module, text};

/// A body whose read waits until the test lets it go on.
struct Stalled {
    memory: Memory,
    reading: Arc<Barrier>,
    go_on: Arc<Barrier>,
    has_waited: bool,
}

impl Exchange for Stalled {
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.has_waited {
            self.memory.read_body(buffer)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn send_head(&mut self, head: &ResponseHead<'_>) -> io::Result<()> {
        self.memory.send_head(head)
    }

    fn send_data(&mut self, data: &[u8]) -> io::Result<usize> {
        self.memory.send_data(data)
    }

    fn wait(&mut self) -> io::Result<()> {
        self.has_waited = true;
        self.reading.wait();
        self.go_on.wait();
        Ok(())
    }
}

/// Reads in a thread, which stalls; meanwhile the main thread does what the body of `meanwhile` says.
fn run(meanwhile: &str) -> String {
    use rgunicorn_wsgi::pyo3::prelude::*;
    use rgunicorn_wsgi::pyo3::types::PyCFunction;

    let reading = Arc::new(Barrier::new(2));
    let go_on = Arc::new(Barrier::new(2));
    let meanwhile = indented(meanwhile);
    let source = format!(
        "
import threading
def app(environ, start_response):
    input = environ['wsgi.input']
    got = []
    thread = threading.Thread(target=lambda: got.append(input.read()))
    thread.start()
    until_reading()
{meanwhile}
"
    );
    let module = module(&source);
    let app = Python::attach(|py| {
        for (name, barrier) in [("until_reading", &reading), ("go_on", &go_on)] {
            let barrier = Arc::clone(barrier);
            let wait = PyCFunction::new_closure(py, None, None, move |args, _| {
                args.py().detach(|| barrier.wait());
            });
            module.setattr(py, name, wait.unwrap()).unwrap();
        }
        App::new(module.getattr(py, "app").unwrap(), EnvironOptions::default())
    });
    let memory = Memory::with_body(b"body");
    let exchange = Stalled { memory, reading, go_on, has_waited: false };
    let (exchange, result) = app.call(Request { has_body: true, ..get(&[]) }, exchange);
    result.unwrap_or_else(|error| panic!("{:?}", error.traceback()));
    text(&exchange.memory).to_owned()
}

#[test]
fn a_second_thread_is_told_that_the_request_is_in_use() {
    let shown = run("
errors = []
write = start_response('200 OK', [])
for use in (input.read, input.readline, lambda: next(input), lambda: write(b'x')):
    try:
        use()
    except RuntimeError as error:
        errors.append(str(error))
go_on()
thread.join()
assert set(errors) == {'another thread uses this request'} and len(errors) == 4, errors
return got");
    assert_eq!(shown, "body");
}

#[test]
fn the_server_waits_for_a_thread_that_reads() {
    // The iterable's pieces, and the end of the request, come while the thread still has the exchange.
    let shown = run("
start_response('200 OK', [])
threading.Timer(0, go_on).start()
return iter([b'piece'])");
    assert_eq!(shown, "piece");
    let shown = run("
start_response('200 OK', [])
threading.Timer(0, go_on).start()
return [b'piece']");
    assert_eq!(shown, "piece");
}

/// An exchange that panics when it is written to.
struct Panicking;

impl Exchange for Panicking {
    fn read_body(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn send_head(&mut self, _: &ResponseHead<'_>) -> io::Result<()> {
        panic!("in the exchange")
    }

    fn send_data(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }

    fn wait(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_that_the_application_swallows_does_not_stop_the_server() {
    let source = "
def app(environ, start_response):
    write = start_response('200 OK', [])
    try:
        write(b'x')
    except BaseException:
        return []
";
    app(source).call(get(&[]), Panicking).1.unwrap();
}
