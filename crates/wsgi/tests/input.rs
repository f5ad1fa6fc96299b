//! `wsgi.input` and `wsgi.errors`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use rgunicorn_wsgi::{AppError, Request};
use support::{Memory, app, get, logged, text};

/// The representation of a Python expression over `input`, for a request with this body.
fn eval(expression: &str, memory: Memory) -> String {
    let source = format!(
        "
def app(environ, start_response):
    input = environ['wsgi.input']
    start_response('200 OK', [])
    return [repr({expression}).encode()]
"
    );
    let (memory, result) = app(&source).call(Request { has_body: true, ..get(&[]) }, memory);
    result.unwrap_or_else(|error| panic!("{expression}: {error}: {:?}", error.traceback()));
    text(&memory).to_owned()
}

const BODY: &[u8] = b"first\nsecond\n\nlast";

#[test]
fn reads_as_files_do() {
    let cases = [
        ("input.read()", r"b'first\nsecond\n\nlast'"),
        ("input.read(-1)", r"b'first\nsecond\n\nlast'"),
        ("input.read(None)", r"b'first\nsecond\n\nlast'"),
        ("input.read(0)", "b''"),
        ("input.read(7)", r"b'first\ns'"),
        ("input.read(10 ** 12)", r"b'first\nsecond\n\nlast'"),
        (
            "(input.read(2), input.read(3), input.read(99), input.read(), input.read(1))",
            r"(b'fi', b'rst', b'\nsecond\n\nlast', b'', b'')",
        ),
        ("input.readline()", r"b'first\n'"),
        ("input.readline(-1)", r"b'first\n'"),
        ("input.readline(None)", r"b'first\n'"),
        ("input.readline(0)", "b''"),
        ("(input.readline(3), input.readline(3), input.readline(3))", r"(b'fir', b'st\n', b'sec')"),
        ("input.readline(6)", r"b'first\n'"),
        (
            "[input.readline() for _ in range(6)]",
            r"[b'first\n', b'second\n', b'\n', b'last', b'', b'']",
        ),
        (
            "(input.readline(), input.read(3), input.readline(), input.read())",
            r"(b'first\n', b'sec', b'ond\n', b'\nlast')",
        ),
        ("list(input)", r"[b'first\n', b'second\n', b'\n', b'last']"),
        ("(next(input), iter(input) is input)", r"(b'first\n', True)"),
        ("input.readlines()", r"[b'first\n', b'second\n', b'\n', b'last']"),
        ("input.readlines(-1)", r"[b'first\n', b'second\n', b'\n', b'last']"),
        ("input.readlines(0)", r"[b'first\n', b'second\n', b'\n', b'last']"),
        ("(input.readlines(1), input.read())", r"([b'first\n'], b'second\n\nlast')"),
        ("input.readlines(7)", r"[b'first\n', b'second\n']"),
        (
            "(input.read(), input.readline(), input.readlines(), list(input))",
            r"(b'first\nsecond\n\nlast', b'', [], [])",
        ),
        ("[hasattr(input, name) for name in ('close', 'fileno', 'seek')]", "[False, False, False]"),
    ];
    for (expression, expected) in cases {
        // Whole; byte by byte; and with waits in between.
        for (step, reluctant) in [(0, false), (1, false), (4, true)] {
            for tells_length in [false, true] {
                let memory = Memory { step, reluctant, tells_length, ..Memory::with_body(BODY) };
                let case = format!("{expression}, step {step}, known: {tells_length}");
                assert_eq!(eval(expression, memory), expected, "{case}");
            }
        }
    }
}

#[test]
fn long_bodies_and_lines() {
    let mut body = vec![b'x'; 300_000];
    body.push(b'\n');
    body.resize(400_001, b'y');
    for (step, tells_length) in [(0, false), (1000, false), (0, true), (1000, true)] {
        let memory = || Memory { step, tells_length, ..Memory::with_body(&body) };
        assert_eq!(eval("[len(line) for line in input]", memory()), "[300001, 100000]");
        assert_eq!(eval("len(input.read())", memory()), "400001");
        let expression = "sum(len(piece) for piece in iter(lambda: input.read(7777), b''))";
        assert_eq!(eval(expression, memory()), "400001");
    }
}

#[test]
fn a_read_takes_no_more_than_it_was_asked_for() {
    let source = "
def app(environ, start_response):
    environ['wsgi.input'].read(2)
    start_response('200 OK', [])
    return []
";
    for tells_length in [false, true] {
        let memory = Memory { tells_length, ..Memory::with_body(BODY) };
        let (memory, result) = app(source).call(Request { has_body: true, ..get(&[]) }, memory);
        result.unwrap();
        assert_eq!(memory.read, 2);
    }
}

#[test]
fn an_error_loses_nothing_of_the_body() {
    let source = "
def app(environ, start_response):
    input = environ['wsgi.input']
    parts = [input.readline(3)]
    try:
        parts.append(input.read())
    except TimeoutError:
        parts.append(b'|')
    parts.append(input.read())
    start_response('200 OK', [])
    return parts
";
    for tells_length in [false, true] {
        // A line reads ahead, so the steps decide whether the rest is read before the error.
        for step in [0, 2, 4] {
            let stumbles_after = Some(if step == 0 { BODY.len() } else { 8 });
            let memory = Memory { step, tells_length, stumbles_after, ..Memory::with_body(BODY) };
            let (memory, result) = app(source).call(Request { has_body: true, ..get(&[]) }, memory);
            result.unwrap();
            let whole = text(&memory).replace('|', "");
            assert_eq!(whole.as_bytes(), BODY, "step {step}, known: {tells_length}");
            assert!(step == 0 || text(&memory).contains('|'));
        }
    }
}

#[test]
fn a_length_that_proves_wrong_harms_nothing() {
    let body = |length: usize| Memory {
        tells_length: true,
        announced: Some(length),
        ..Memory::with_body(BODY)
    };
    assert_eq!(eval("(input.read(), input.read())", body(99)), r"(b'first\nsecond\n\nlast', b'')");
    assert_eq!(eval("(input.read(9), input.readline())", body(4)), r"(b'firs', b't\n')");
}

#[test]
fn without_a_body_it_is_empty() {
    let source = "
def app(environ, start_response):
    input = environ['wsgi.input']
    start_response('200 OK', [])
    return [repr((input.read(), input.read(5), input.readline(), input.readlines(), list(input))).encode()]
";
    let (memory, result) = app(source).call(get(&[]), Memory::with_body(b"unannounced"));
    result.unwrap();
    assert_eq!(text(&memory), "(b'', b'', b'', [], [])");
}

#[test]
fn a_generator_may_read_between_its_pieces() {
    let source = "
def app(environ, start_response):
    start_response('200 OK', [])
    for line in environ['wsgi.input']:
        yield line.upper()
";
    let (memory, result) =
        app(source).call(Request { has_body: true, ..get(&[]) }, Memory::with_body(BODY));
    result.unwrap();
    assert_eq!(text(&memory), "FIRST\nSECOND\n\nLAST");
}

#[test]
fn close_may_still_read_but_nothing_may_after_the_request() {
    let source = "
kept = []
class Body:
    def __init__(self, input): self.input = input
    def __iter__(self): return iter([b'x'])
    def close(self): kept.append(self.input.readline())
def app(environ, start_response):
    start_response('200 OK', [])
    if kept:
        errors = []
        for method in ('read', 'readline', 'readlines', '__next__'):
            try:
                getattr(kept[0], method)()
            except ValueError as error:
                errors.append(str(error))
        return [repr((kept[1], errors)).encode()]
    kept.append(environ['wsgi.input'])
    return Body(environ['wsgi.input'])
";
    let app = app(source);
    let (_, result) = app.call(Request { has_body: true, ..get(&[]) }, Memory::with_body(BODY));
    result.unwrap();
    let (memory, result) = app.call(get(&[]), Memory::default());
    result.unwrap();
    let ended = ["'the request has ended'"; 4].join(", ");
    assert_eq!(text(&memory), format!(r"(b'first\n', [{ended}])"));
}

#[test]
fn a_malformed_body_is_an_os_error_and_no_fault_of_the_application() {
    let source = "
def app(environ, start_response):
    environ['wsgi.input'].read()
";
    let malformed = || Memory { malformed_body: true, ..Memory::default() };
    let request = || Request { has_body: true, ..get(&[]) };
    let error = app(source).call(request(), malformed()).1.unwrap_err();
    assert!(!error.head_sent());
    assert!(matches!(error, AppError::BadBody(error) if error.to_string() == "bad chunk size"));

    let source = "
def app(environ, start_response):
    start_response('200 OK', [])
    yield b'x'
    environ['wsgi.input'].read()
";
    let error = app(source).call(request(), malformed()).1.unwrap_err();
    assert!(matches!(error, AppError::Disconnected(_)) && error.head_sent());

    let source = "
def app(environ, start_response):
    try:
        environ['wsgi.input'].read()
    except OSError as error:
        start_response('400 Bad Request', [])
        return [str(error).encode()]
";
    let (memory, result) = app(source).call(request(), malformed());
    result.unwrap();
    assert_eq!(text(&memory), "bad chunk size");
}

#[test]
fn lines_for_the_log_are_whole_and_none_is_lost() {
    logged("");
    let source = r"
def app(environ, start_response):
    errors = environ['wsgi.errors']
    print('log: one', 'line', file=errors)
    assert errors.write('log: two\nlog: th') == 16
    errors.writelines(['ree\n', 'log: four'])
    errors.flush()
    errors.flush()
    errors.write('log: caf\u00e9 \udce9 \u20ac')
    try:
        errors.write(b'bytes')
    except TypeError:
        start_response('200 OK', [])
    return []
";
    app(source).call(get(&[]), Memory::default()).1.unwrap();
    let expected = ["log: one line", "log: two", "log: three", "log: four", "log: caf\u{e9} "];
    let lines = logged("log: ");
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("ERROR rgunicorn.wsgi.errors: {expected}")), "{line}");
    }
}

#[test]
fn an_endless_line_is_logged_in_parts() {
    logged("");
    let source = "
def app(environ, start_response):
    for _ in range(200):
        environ['wsgi.errors'].write('endless ' * 100)
    start_response('200 OK', [])
    return []
";
    app(source).call(get(&[]), Memory::default()).1.unwrap();
    let parts = logged("endless ");
    assert!(parts.len() == 3, "{}", parts.len());
}
