//! What an observer sees of a call.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use rgunicorn_wsgi::pyo3::prelude::*;
use rgunicorn_wsgi::pyo3::types::PyDict;
use rgunicorn_wsgi::{EnvironOptions, Observer};
use support::{Memory, app, app_with, get};

/// What `environ['seen']` was at each look.
#[derive(Default)]
struct Seen(Vec<String>);

impl Observer for Seen {
    fn after(&mut self, environ: &Bound<'_, PyDict>) {
        self.0.push(environ.get_item("seen").unwrap().unwrap().to_string());
    }
}

#[test]
fn the_environ_is_seen_once_as_the_application_left_it() {
    const LIST: &str = "
def app(environ, start_response):
    environ['seen'] = 'list'
    start_response('200 OK', [])
    return [b'x']
";
    const GENERATOR: &str = "
def app(environ, start_response):
    environ['seen'] = 'call'
    start_response('200 OK', [])
    try:
        yield b'x'
        environ['seen'] = 'generator'
        yield b'y'
    finally:
        environ['seen'] += ', not closed'
";
    const CLOSE: &str = "
class app:
    def __init__(self, environ, start_response):
        self.environ = environ
        start_response('200 OK', [])
    def __iter__(self):
        self.environ['seen'] = 'open'
        return iter([b'x'])
    def close(self):
        self.environ['seen'] = 'closed'
";
    const RAISES: &str = "
def app(environ, start_response):
    environ['seen'] = 'raised'
    raise ValueError
";
    for (source, expected) in
        [(LIST, "list"), (GENERATOR, "generator, not closed"), (CLOSE, "open"), (RAISES, "raised")]
    {
        let mut seen = Seen::default();
        let (_, result) = app(source).call_observed(get(&[]), Memory::default(), &mut seen);
        assert_eq!(seen.0, [expected]);
        assert_eq!(result.is_err(), source == RAISES);
    }
}

#[test]
fn a_request_that_does_not_reach_the_application_is_not_seen() {
    let options = EnvironOptions::default().script_name("/elsewhere");
    let app = app_with("def app(environ, start_response): pass", options);
    let mut seen = Seen::default();
    let (_, result) = app.call_observed(get(&[]), Memory::default(), &mut seen);
    assert!(result.is_err());
    assert!(seen.0.is_empty());
}
