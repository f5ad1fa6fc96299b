//! `module:attribute` and what can be wrong with it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::path::Path;

use rgunicorn_wsgi::pyo3::prelude::*;
use rgunicorn_wsgi::{App, EnvironOptions, LoadError};
use support::{Memory, get, text};

const MODULE: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'plain']

def factory(first, second='two'):
    if first == 'raise': raise TypeError('inside')
    def app(environ, start_response):
        start_response('200 OK', [])
        return [repr((first, second)).encode()]
    return None if first is None else app

class Namespace: app = application
class Lazy:
    def __getattr__(self, name): raise OSError('in __getattr__')
number = 5
none = None
";

/// Loads from a directory with `MODULE` as `directory/name.py`.
fn load(directory: &Path, name: &str, spec: &str) -> Result<App, LoadError> {
    std::fs::write(directory.join(format!("{name}.py")), MODULE).unwrap();
    std::fs::write(directory.join(format!("{name}_bad.py")), "import nothing_of_this_name")
        .unwrap();
    std::fs::write(directory.join(format!("{name}_exit.py")), "raise SystemExit(7)").unwrap();
    Python::initialize();
    Python::attach(|py| {
        let path = py.import("sys").unwrap().getattr("path").unwrap();
        path.call_method1("insert", (0, directory.to_str().unwrap())).unwrap();
        App::load(py, &spec.parse().unwrap(), EnvironOptions::default())
    })
}

#[test]
fn what_can_be_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("good", "plain"),
        ("good:application", "plain"),
        ("good:factory(1)", "(1, 'two')"),
        (r#"good:factory("a:b", second=[1, {"k": None}])"#, "('a:b', [1, {'k': None}])"),
        ("good:factory(-1, (True, b'x'))", "(-1, (True, b'x'))"),
    ];
    for (spec, expected) in cases {
        let app = load(directory.path(), "good", spec).unwrap();
        let (memory, result) = app.call(get(&[]), Memory::default());
        result.unwrap();
        assert_eq!(text(&memory), expected, "{spec}");
    }
}

#[test]
fn what_is_no_application_has_gunicorns_message() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("wrong:x", "Failed to find attribute 'x' in 'wrong'."),
        ("wrong:x()", "Failed to find attribute 'x' in 'wrong'."),
        ("wrong:number", "Application object must be callable."),
        ("wrong:none", "Failed to find application object: 'none'"),
        ("wrong:factory(None)", "Failed to find application object: 'factory(None)'"),
        (
            r#"wrong:factory("n", None, 3)"#,
            "TypeError: factory() takes from 1 to 2 positional arguments but 3 were given",
        ),
        ("wrong:factory()", "TypeError: factory() missing 1 required positional argument: 'first'"),
        ("wrong:number()", "TypeError: 'int' object is not callable"),
        ("wrong:factory(**{'a': 1})", "TypeError: keywords must be strings"),
        (
            "wrong:Namespace.app",
            "Failed to parse 'Namespace.app' as an attribute name or function call.",
        ),
        ("wrong:", "Failed to parse '' as an attribute name or function call."),
        ("wrong:a b", "Failed to parse 'a b' as an attribute name or function call."),
        ("wrong:1", "Failed to parse '1' as an attribute name or function call."),
        ("wrong:a\0", r"Failed to parse 'a\x00' as an attribute name or function call."),
        ("wrong:Namespace.app()", "Function reference must be a simple name: 'Namespace.app()'"),
        ("wrong:factory(number)", "Failed to parse arguments as literal values: 'factory(number)'"),
        (
            "wrong:factory(\"it's\", x)",
            "Failed to parse arguments as literal values: 'factory(\"it\\'s\", x)'",
        ),
        ("wrong:factory(*[1])", "Failed to parse arguments as literal values: 'factory(*[1])'"),
    ];
    for (spec, message) in cases {
        let error = load(directory.path(), "wrong", spec).unwrap_err();
        assert_eq!(error.to_string(), message, "{spec}");
        assert!(error.is_app_error() && error.traceback().is_none(), "{spec}");
    }
}

#[test]
fn exceptions_of_the_module_come_with_their_traceback() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raising_bad:app", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raising_exit", "SystemExit: 7"),
        ("raising:factory('raise')", "TypeError: inside"),
        (
            ".relative",
            "TypeError: the 'package' argument is required to perform a relative import for '.relative'",
        ),
    ];
    for (spec, message) in cases {
        let error = load(directory.path(), "raising", spec).unwrap_err();
        assert_eq!(error.to_string(), message, "{spec}");
        assert!(!error.is_app_error(), "{spec}");
        let traceback = error.traceback().unwrap();
        assert!(traceback.starts_with("Traceback (most recent call last):\n"), "{traceback}");
        assert!(traceback.trim_end().ends_with(message), "{traceback}");
    }
}

#[test]
fn a_file_name_gets_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hinted.py");
    let spec = path.to_str().unwrap();
    for (spec, meant) in [(spec.to_owned(), "application"), (format!("{spec}:app"), "app")] {
        let error = load(directory.path(), "hinted", &spec).unwrap_err();
        let stem = path.with_extension("");
        let stem = stem.to_str().unwrap();
        let hint = format!("Failed to find application, did you mean '{stem}:{meant}'?");
        assert_eq!(error.to_string(), format!("ImportError: {hint}"));
        assert!(!error.is_app_error());
        assert!(error.traceback().unwrap().contains(&hint));
    }
}

#[test]
fn a_spec_needs_a_module() {
    for spec in ["", ":", ":app"] {
        let error = spec.parse::<rgunicorn_wsgi::Spec>().unwrap_err();
        assert_eq!(error.to_string(), format!("no module is named in {spec:?}"));
    }
}
