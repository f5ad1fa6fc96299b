//! What the command says and how it ends, without serving.

mod support;

use support::{command, directory, run};

const HELLO: &str = "def app(environ, start_response):\n    \
                     start_response('200 OK', [])\n    return [b'hello']\n";

/// The value that `--print-config` prints.
fn printed<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    page.lines().find_map(|line| {
        let (found, value) = line.split_once(" = ")?;
        (found.trim_end() == name).then_some(value)
    })
}

#[test]
fn options_come_from_gunicorn_cmd_args_too() {
    let temporary = directory(&[
        ("hello.py", HELLO),
        ("gunicorn.conf.py", "workers = 2\ntimeout = 2\nkeepalive = 2\n"),
    ]);
    let mut command = command();
    command.env("GUNICORN_CMD_ARGS", "nothing:app --workers=3 -t '3' --access-logfile \"a b\"");
    let (status, page, errors) =
        run(temporary.path(), command.args(["hello:app", "--print-config", "-t4"]));
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    for (name, value) in [
        // The file is the lowest, the line the highest.
        ("keepalive", "2"),
        ("workers", "3"),
        ("timeout", "4"),
        ("accesslog", "a b"),
        ("wsgi_app", "hello:app"),
    ] {
        assert_eq!(printed(&page, name), Some(value), "{name}");
    }
}

#[test]
fn mistakes_in_gunicorn_cmd_args_are_told_as_such() {
    let temporary = directory(&[("hello.py", HELLO)]);
    for (line, status, message) in [
        (
            "-w no",
            1,
            "\nError: invalid value for workers from -w in GUNICORN_CMD_ARGS: 'no' \
                      (allowed: a whole number from 1 to 512)\n",
        ),
        (
            "--statsd-host localhost:8125",
            1,
            "\nError: --statsd-host in GUNICORN_CMD_ARGS (statsd_host) is a gunicorn \
                            setting that rgunicorn does not support yet\n",
        ),
        ("'", 1, "\nError: GUNICORN_CMD_ARGS ends within a quotation, or after a backslash\n"),
        (
            "--bogus",
            2,
            "usage: rgunicorn [OPTIONS] [APP_MODULE]\nrgunicorn: error: \
                        unrecognized arguments: --bogus (in GUNICORN_CMD_ARGS)\n",
        ),
    ] {
        let mut command = command();
        let command = command.env("GUNICORN_CMD_ARGS", line).arg("hello:app");
        let (ended, _, errors) = run(temporary.path(), command);
        assert_eq!((ended, errors.as_str()), (Some(status), message), "{line}");
    }
}

#[test]
fn print_config_loads_the_application_too() {
    let temporary = directory(&[("broken.py", "1 / 0\n")]);
    let (status, page, errors) =
        run(temporary.path(), command().args(["broken:app", "--print-config"]));
    assert_eq!(status, Some(1));
    assert_eq!(printed(&page, "print_config"), Some("True"));
    assert!(errors.starts_with("\nError while loading the application:\n"), "{errors}");
    assert!(errors.ends_with("ZeroDivisionError: division by zero\n"), "{errors}");
}
