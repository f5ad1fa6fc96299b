//! The response side of PEP 3333: `start_response`, `write()`, the iterable, and all that can go
//! wrong with them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::io;

use rgunicorn_wsgi::pyo3::Python;
use rgunicorn_wsgi::{AppError, Request, Violation};
use support::{Memory, app, call, get, indented, logged, text};

/// Calls an application of which only the body of the function is given.
fn run(body: &str) -> (Memory, Result<(), AppError>) {
    run_with(body, Memory::default())
}

fn run_with(body: &str, memory: Memory) -> (Memory, Result<(), AppError>) {
    app(&application(body)).call(get(&[]), memory)
}

fn application(body: &str) -> String {
    let body = indented(body);
    format!("import sys\nlog = []\ndef app(environ, start_response):\n{body}\n")
}

fn headers(memory: &Memory) -> Vec<(&str, &str)> {
    memory.head().headers.iter().map(|(name, value)| (&**name, &**value)).collect()
}

#[test]
fn head_and_body_arrive_as_given() {
    let (memory, result) = run("
start_response('404 Not Found', [('Content-Type', 'text/plain'), ('X-Name', ' caf\u{e9}\t')])
return [b'hello']");
    result.unwrap();
    let head = memory.head();
    assert_eq!((head.status, &*head.reason, head.length), (404, "Not Found", Some(5)));
    assert_eq!(headers(&memory), [("Content-Type", "text/plain"), ("X-Name", "caf\u{e9}")]);
    assert_eq!(memory.body, b"hello");
}

#[test]
fn the_length_is_told_when_it_is_known() {
    let cases = [
        ("return [b'hello']", Some(5), "hello"),
        ("return (b'hello',)", Some(5), "hello"),
        ("return [b'he', b'', b'llo']", Some(5), "hello"),
        ("return []", Some(0), ""),
        ("return [b'']", Some(0), ""),
        ("return iter(())", Some(0), ""),
        ("return iter([b'', b''])", Some(0), ""),
        ("return iter([b'he', b'llo'])", None, "hello"),
        ("class L(list): pass\nreturn L([b'hello'])", None, "hello"),
    ];
    for (returned, length, body) in cases {
        let (memory, result) = run(&format!("start_response('200 OK', [])\n{returned}"));
        result.unwrap();
        assert_eq!((memory.head().length, text(&memory)), (length, body), "{returned}");
    }
}

#[test]
fn a_content_length_of_the_application_is_not_told_twice() {
    let (memory, result) =
        run("start_response('200 OK', [('content-length', '5')])\nreturn [b'hello']");
    result.unwrap();
    assert_eq!(memory.head().length, None);
    assert_eq!(headers(&memory), [("content-length", "5")]);
}

#[test]
fn bodies_that_must_not_be_sent_are_not() {
    let cases = [
        ("HEAD", "200 OK", "[b'hello']", Some(5)),
        ("HEAD", "200 OK", "[]", None),
        ("HEAD", "200 OK", "iter([b'hello'])", None),
        ("GET", "204 No Content", "[b'hello']", None),
        ("GET", "304 Not Modified", "[b'hello']", None),
        ("GET", "304 Not Modified", "[]", None),
    ];
    for (method, status, returned, length) in cases {
        let app = app(&application(&format!("start_response('{status}', [])\nreturn {returned}")));
        let (memory, result) = app.call(Request { method, ..get(&[]) }, Memory::default());
        result.unwrap();
        assert_eq!((memory.head().length, text(&memory)), (length, ""), "{method} {status}");
    }
    let source = application("start_response('200 OK', [('Content-Length', '9')])\nreturn []");
    let (memory, result) =
        app(&source).call(Request { method: "HEAD", ..get(&[]) }, Memory::default());
    result.unwrap();
    assert_eq!(headers(&memory), [("Content-Length", "9")]);
}

#[test]
fn bad_arguments_of_start_response_raise_and_make_a_500() {
    let cases = [
        ("'200 OK'.encode(), []", "TypeError"),
        ("200, []", "TypeError"),
        ("'', []", "ValueError"),
        ("'20', []", "ValueError"),
        ("'2000 OK', []", "ValueError"),
        ("'099 OK', []", "ValueError"),
        ("'100 Continue', []", "ValueError"),
        ("'+20 OK', []", "ValueError"),
        ("'200 O\\r\\nK', []", "ValueError"),
        ("'200 \\u20ac', []", "ValueError"),
        ("'200 OK', None", "TypeError"),
        ("'200 OK', {'A': 'b'}", "TypeError"),
        ("'200 OK', 'A: b'", "TypeError"),
        ("'200 OK', [['A']]", "TypeError"),
        ("'200 OK', [{'A': 'b'}]", "TypeError"),
        ("'200 OK', [('A',)]", "TypeError"),
        ("'200 OK', [('A', 'b', 'c')]", "TypeError"),
        ("'200 OK', [('A', b'b')]", "TypeError"),
        ("'200 OK', [('A', 1)]", "TypeError"),
        ("'200 OK', [('', 'b')]", "ValueError"),
        ("'200 OK', [('A b', 'b')]", "ValueError"),
        ("'200 OK', [('A:', 'b')]", "ValueError"),
        ("'200 OK', [('\\xc4', 'b')]", "ValueError"),
        ("'200 OK', [('A', 'b\\r\\nSet-Cookie: x')]", "ValueError"),
        ("'200 OK', [('A', 'b\\x00')]", "ValueError"),
        ("'200 OK', [('A', 'b\\x7f')]", "ValueError"),
        ("'200 OK', [('A', '\\u20ac')]", "ValueError"),
        ("'200 OK', [('Content-Length', '-1')]", "ValueError"),
        ("'200 OK', [('Content-Length', '1, 1')]", "ValueError"),
        ("'200 OK', [('Content-Length', '')]", "ValueError"),
        ("'200 OK', [('Content-Length', '1'), ('Content-Length', '2')]", "ValueError"),
        ("'200 OK'", "TypeError"),
    ];
    for (arguments, exception) in cases {
        let (memory, result) = run(&format!("start_response({arguments})\nreturn [b'x']"));
        let error = result.unwrap_err();
        assert!(!error.head_sent() && memory.heads.is_empty(), "{arguments}");
        assert!(matches!(error, AppError::BeforeHead(_)), "{arguments}: {error:?}");
        let traceback = error.traceback().unwrap();
        assert!(traceback.contains(&format!("\n{exception}: ")), "{arguments}: {traceback}");
    }
}

/// PEP 3333 wants a list of tuples, but what gunicorn serves is served here, too.
#[test]
fn headers_may_be_any_iterable_of_pairs() {
    for headers in [
        "(('A', 'b'), ('C', 'd'))",
        "[['A', 'b'], ['C', 'd']]",
        "{'A': 'b', 'C': 'd'}.items()",
        "(pair for pair in [('A', 'b'), ['C', 'd']])",
    ] {
        let (memory, result) = run(&format!("start_response('200 OK', {headers})\nreturn [b'x']"));
        result.unwrap();
        assert_eq!(self::headers(&memory), [("A", "b"), ("C", "d")], "{headers}");
    }
    let (_, result) = run("start_response('200 OK', (1 // 0 for _ in 'x'))\nreturn []");
    assert!(result.unwrap_err().traceback().unwrap().contains("ZeroDivisionError"));
}

/// Frameworks pass on what they were given: the traceback does not show which field was wrong.
#[test]
fn errors_say_what_is_wrong() {
    let long = format!("'200 OK', '{}'", "x".repeat(1000));
    for (arguments, expected) in [
        ("'OK 200', []", "without control characters, not 'OK 200'"),
        ("200, []", "TypeError: status must be a str, not 200"),
        ("'200 OK', None", "TypeError: headers must be a list, not None"),
        ("'200 OK', [(b'A', 'b')]", "a tuple of two str, and this one is (b'A', 'b')"),
        ("'200 OK', [('A b', 'c')]", "(RFC 9110, section 5.6.2), and this one is 'A b'"),
        ("'200 OK', [('A', 'b'), ('C', 'secret\\n')]", "ValueError: the value of header 'C' must"),
        ("'200 OK', [('Content-Length', '1.0')]", "number of bytes, and this one is '1.0'"),
        (&long, "and this one is 'x'"),
    ] {
        let (_, result) = run(&format!("start_response({arguments})\nreturn []"));
        let traceback = result.unwrap_err().traceback().unwrap();
        let message = traceback.trim_end().lines().last().unwrap();
        assert!(message.contains(expected), "{arguments}: {message}");
        assert!(!message.contains("secret") && message.chars().count() < 250, "{message}");
    }
    for (returned, expected) in [
        ("None", "TypeError: the application must return an iterable of bytes, not NoneType"),
        ("['text']", "TypeError: the response's body must be made of bytes, not of str"),
        ("iter(['text'])", "TypeError: the response's body must be made of bytes, not of str"),
        ("b'text'", "TypeError: the response's body must be made of bytes, not of int"),
    ] {
        let (_, result) = run(&format!("start_response('200 OK', [])\nreturn {returned}"));
        let traceback = result.unwrap_err().traceback().unwrap();
        assert_eq!(traceback.trim_end(), expected, "{returned}");
    }
}

#[test]
fn content_length_stays_out_of_204_and_in_304() {
    for (status, expected) in [("204 No Content", None), ("304 Not Modified", Some("5"))] {
        let (memory, result) =
            run(&format!("start_response('{status}', [('Content-Length', '5')])\nreturn []"));
        result.unwrap();
        assert_eq!(headers(&memory).first().map(|field| field.1), expected, "{status}");
        assert_eq!(memory.head().length, None);
    }
}

#[test]
fn keywords_are_taken_as_gunicorn_takes_them() {
    let (memory, result) =
        run("start_response(status='200 OK', headers=[], exc_info=None)\nreturn [b'x']");
    result.unwrap();
    assert_eq!(text(&memory), "x");
}

#[test]
fn unusual_but_good_heads_pass() {
    let cases = ["200", "200 ", "299 Caf\\xe9 \\t!", "999 x"];
    for status in cases {
        let (memory, result) = run(&format!("start_response('{status}', [])\nreturn [b'x']"));
        result.unwrap();
        assert_eq!(memory.body, b"x", "{status}");
    }
    let many = "start_response('200 OK', [('X-' + str(i), str(i)) for i in range(100)])\nreturn []";
    let (memory, result) = run(many);
    result.unwrap();
    assert_eq!(headers(&memory).len(), 100);
    assert_eq!(headers(&memory)[99], ("X-99", "99"));
}

#[test]
fn hop_by_hop_headers_are_dropped_with_one_warning_each() {
    logged("");
    let source = application(
        "start_response('200 OK', [('Connection', 'close'), ('X', 'y'), ('keep-alive', '5'),
    ('Transfer-Encoding', 'chunked'), ('TE', 'x'), ('Upgrade', 'h2c')])\nreturn []",
    );
    let app = app(&source);
    for _ in 0..2 {
        let (memory, result) = app.call(get(&[]), Memory::default());
        result.unwrap();
        assert_eq!(headers(&memory), [("X", "y")]);
    }
    assert_eq!(logged("Transfer-Encoding").len(), 1);
    assert_eq!(logged("Keep-Alive").len(), 1);
}

#[test]
fn start_response_twice_needs_exc_info() {
    let (memory, result) = run("
start_response('200 OK', [])
try:
    start_response('201 Created', [])
except AssertionError:
    return [b'refused']");
    result.unwrap();
    assert_eq!((memory.head().status, text(&memory)), (200, "refused"));
}

#[test]
fn exc_info_replaces_the_head_until_it_is_sent() {
    let (memory, result) = run("
start_response('200 OK', [('A', 'first'), ('Content-Length', '99')])
try:
    raise KeyError('x')
except KeyError:
    start_response('500 Oops', [('B', 'second')], sys.exc_info())
return [b'sorry']");
    result.unwrap();
    assert_eq!((memory.head().status, &*memory.head().reason), (500, "Oops"));
    assert_eq!(headers(&memory), [("B", "second")]);
    assert_eq!(text(&memory), "sorry");
}

#[test]
fn exc_info_is_raised_again_once_the_head_is_sent() {
    let (memory, result) = run("
start_response('200 OK', [])
yield b'begun'
try:
    raise KeyError('the cause')
except KeyError:
    start_response('500 Oops', [], sys.exc_info())
yield b'never'");
    let error = result.unwrap_err();
    assert!(matches!(error, AppError::AfterHead(_)) && error.head_sent());
    let traceback = error.traceback().unwrap();
    assert!(traceback.contains("line 8, in app\nKeyError: 'the cause'"), "{traceback}");
    assert_eq!((memory.head().status, text(&memory)), (200, "begun"));
}

#[test]
fn the_traceback_of_exc_info_is_the_one_that_counts() {
    let (_, result) = run("
start_response('200 OK', [])(b'begun')
def fail():
    raise KeyError('the cause')
try:
    fail()
except KeyError:
    exc_info = sys.exc_info()
exc_info[1].__traceback__ = None
start_response('500 Oops', [], exc_info)
return []");
    let traceback = result.unwrap_err().traceback().unwrap();
    assert!(traceback.contains("in fail\nKeyError: 'the cause'"), "{traceback}");
}

#[test]
fn a_head_that_was_to_be_replaced_is_not_sent() {
    let (memory, result) = run("
start_response('200 OK', [('Set-Cookie', 'secret')])
try:
    raise KeyError('x')
except KeyError:
    try:
        start_response('500 Oops', [('Bad Name', '')], sys.exc_info())
    except ValueError:
        return [b'sorry']");
    assert!(matches!(result, Err(AppError::Protocol(Violation::NoStartResponse))), "{result:?}");
    assert!(memory.heads.is_empty());
}

#[test]
fn falsy_or_empty_exc_info_before_the_first_call_is_no_error() {
    for exc_info in ["None", "()", "(None, None, None)"] {
        let (memory, result) =
            run(&format!("start_response('200 OK', [], {exc_info})\nreturn [b'x']"));
        result.unwrap();
        assert_eq!(text(&memory), "x", "{exc_info}");
    }
    let (_, result) = run("
write = start_response('200 OK', [])
write(b'x')
start_response('200 OK', [], 'nonsense')
return []");
    assert!(result.unwrap_err().traceback().unwrap().contains("TypeError"));
}

#[test]
fn no_cycle_keeps_exc_info_alive() {
    let source = "
import gc, sys, weakref
class Local: pass
alive = []
def app(environ, start_response):
    local = Local()
    alive.append(weakref.ref(local))
    try:
        raise ValueError
    except ValueError:
        start_response('200 OK', [], sys.exc_info())
    return [b'x' if all(ref() is None for ref in alive[:-1]) else b'leak']
gc.disable()
";
    let app = app(source);
    for _ in 0..3 {
        let (memory, result) = app.call(get(&[]), Memory::default());
        result.unwrap();
        assert_eq!(text(&memory), "x");
    }
}

#[test]
fn a_missing_start_response_is_a_violation() {
    for returned in [
        "[b'x']",
        "[]",
        "iter([b'x'])",
        "iter([])",
        "environ['wsgi.file_wrapper'](__import__('io').BytesIO(b'x'))",
    ] {
        let (memory, result) = run(&format!("return {returned}"));
        let error = result.unwrap_err();
        assert!(matches!(error, AppError::Protocol(Violation::NoStartResponse)), "{error:?}");
        assert!(!error.head_sent() && memory.heads.is_empty(), "{returned}");
    }
}

#[test]
fn start_response_may_come_with_the_first_piece() {
    let (memory, result) = run("
yield b''
start_response('200 OK', [])
yield b'late'");
    result.unwrap();
    assert_eq!(text(&memory), "late");
}

#[test]
fn write_sends_at_once_and_the_iterable_follows() {
    let (memory, result) = run("
write = start_response('200 OK', [])
write(b'')
write(b'one ')
write(b'two ')
return [b'three']");
    result.unwrap();
    assert_eq!((text(&memory), memory.head().length, memory.pieces), ("one two three", None, 3));
}

#[test]
fn write_takes_bytes_only() {
    let (_, result) = run("start_response('200 OK', [])('text')\nreturn []");
    assert!(result.unwrap_err().traceback().unwrap().contains("TypeError"));
}

#[test]
fn an_item_that_is_not_bytes_is_a_type_error() {
    for (returned, sent) in [
        ("[b'x', 'text']", false),
        ("('text',)", false),
        ("iter(['text'])", false),
        ("iter([b'x', 'text'])", true),
        ("None", false),
        ("42", false),
    ] {
        let (memory, result) = run(&format!("start_response('200 OK', [])\nreturn {returned}"));
        let error = result.unwrap_err();
        assert!(error.traceback().unwrap().contains("TypeError"), "{returned}");
        assert_eq!((error.head_sent(), !memory.heads.is_empty()), (sent, sent), "{returned}");
    }
}

#[test]
fn an_exception_before_the_first_piece_can_still_be_a_500() {
    for body in [
        "raise KeyError",
        "start_response('200 OK', [])\nraise KeyError",
        "start_response('200 OK', [])\nyield b''\nraise KeyError",
    ] {
        let (memory, result) = run(body);
        assert!(matches!(result, Err(AppError::BeforeHead(_))), "{body}");
        assert!(memory.heads.is_empty());
    }
}

#[test]
fn an_exception_in_mid_stream_is_told_apart() {
    let (memory, result) = run("start_response('200 OK', [])\nyield b'part'\nraise KeyError('x')");
    let error = result.unwrap_err();
    assert!(matches!(error, AppError::AfterHead(_)) && !error.is_complete());
    assert_eq!(text(&memory), "part");
}

#[test]
fn the_traceback_has_the_chain_of_causes() {
    let (_, result) = run("
try:
    {}['missing']
except KeyError as error:
    raise RuntimeError('outer') from error");
    let traceback = result.unwrap_err().traceback().unwrap();
    for part in ["KeyError: 'missing'", "direct cause", "RuntimeError: outer", "test_app.py"] {
        assert!(traceback.contains(part), "{part} in {traceback}");
    }
}

#[test]
fn exits_and_interrupts_are_caught() {
    let cases = [
        ("raise SystemExit", Some(0)),
        ("sys.exit(3)", Some(3)),
        ("sys.exit('message')", Some(1)),
        ("raise KeyboardInterrupt", None),
        ("raise GeneratorExit", None),
    ];
    for (body, code) in cases {
        let error = run(body).1.unwrap_err();
        assert!(matches!(error, AppError::BeforeHead(_)), "{body}");
        assert_eq!(error.system_exit(), code, "{body}");
    }
}

#[test]
fn a_body_that_is_too_long_is_cut_with_one_warning() {
    logged("");
    let cases =
        ["[b'hello, world']", "[b'hel', b'lo, ', b'world']", "iter([b'hell', b'o, ', b'world'])"];
    for (index, returned) in cases.iter().enumerate() {
        let (memory, result) =
            run(&format!("start_response('200 OK', [('Content-Length', '5')])\nreturn {returned}"));
        result.unwrap();
        assert_eq!(text(&memory), "hello", "{returned}");
        assert_eq!(logged("longer than its Content-Length of 5").len(), index + 1);
    }
    let (memory, result) = run("
write = start_response('200 OK', [('Content-Length', '5')])
write(b'hello')
write(b', world')
return [b'!']");
    result.unwrap();
    assert_eq!(text(&memory), "hello");
}

#[test]
fn an_endless_iterable_ends_with_the_content_length() {
    let (memory, result) = run("
start_response('200 OK', [('Content-Length', '7')])
while True:
    yield b'xx'");
    result.unwrap();
    assert_eq!(text(&memory), "xxxxxxx");
}

#[test]
fn a_body_that_is_too_short_is_a_violation() {
    for returned in ["[b'abc']", "iter([b'a', b'bc'])"] {
        let (memory, result) =
            run(&format!("start_response('200 OK', [('Content-Length', '5')])\nreturn {returned}"));
        let error = result.unwrap_err();
        let expected = Violation::BodyTooShort { declared: 5, sent: 3 };
        assert!(matches!(error, AppError::Protocol(violation) if violation == expected));
        assert!(error.head_sent() && !error.is_complete());
        assert_eq!(text(&memory), "abc");
    }
    for returned in ["[]", "iter(())"] {
        let (memory, result) =
            run(&format!("start_response('200 OK', [('Content-Length', '5')])\nreturn {returned}"));
        let error = result.unwrap_err();
        assert!(matches!(error, AppError::Protocol(Violation::BodyMissing { declared: 5 })));
        assert!(!error.head_sent() && memory.heads.is_empty());
    }
}

/// An iterable that counts its `close()` calls in `log`.
const CLOSING: &str = "
log = []
class Body:
    def __init__(self, items, closing=None):
        self.items, self.closing = iter(items), closing
    def __iter__(self): return self
    def __next__(self):
        item = next(self.items)
        if isinstance(item, Exception): raise item
        return item
    def close(self):
        log.append('closed')
        if self.closing: raise self.closing
";

#[test]
fn close_is_called_once_in_every_path() {
    let cases = [
        ("start_response('200 OK', []); return Body([b'x'])", "fine"),
        ("start_response('200 OK', []); return Body([])", "empty"),
        ("return Body([b'x'])", "no start_response"),
        ("start_response('200 OK', []); return Body([KeyError()])", "raises first"),
        ("start_response('200 OK', []); return Body([b'x', KeyError()])", "raises later"),
        ("start_response('200 OK', []); return Body(['text'])", "wrong type"),
        ("start_response('200 OK', [('Content-Length', '1')]); return Body([b'xyz'])", "too long"),
        ("start_response('200 OK', [('Content-Length', '9')]); return Body([b'xyz'])", "too short"),
        ("start_response('200 OK', []); return Body([b'xxxx', b'x'])", "disconnected"),
        ("start_response('200 OK', []); return environ['wsgi.file_wrapper'](File())", "file"),
    ];
    for (body, label) in cases {
        let source = format!(
            "{CLOSING}
class File(Body):
    def __init__(self): pass
    def read(self, size): return b''
def app(environ, start_response):
    if environ['PATH_INFO'] == '/log':
        start_response('200 OK', []); return [' '.join(log).encode()]
    {body}
"
        );
        let app = app(&source);
        let breaks_after = (label == "disconnected").then_some(3);
        let (_, result) = app.call(get(&[]), Memory { breaks_after, ..Memory::default() });
        if label == "disconnected" {
            assert!(matches!(result, Err(AppError::Disconnected(_))), "{result:?}");
        }
        let (memory, result) = app.call(Request { target: b"/log", ..get(&[]) }, Memory::default());
        result.unwrap();
        assert_eq!(text(&memory), "closed", "{label}");
    }
}

#[test]
fn an_exception_of_close_leaves_a_complete_response_complete() {
    let source = format!(
        "{CLOSING}
def app(environ, start_response):
    start_response('200 OK', [])
    return Body([b'x'], ValueError('in close'))
"
    );
    let (memory, result) = call(&source);
    let error = result.unwrap_err();
    assert!(matches!(error, AppError::Close(_)) && error.is_complete() && error.head_sent());
    assert!(error.traceback().unwrap().contains("ValueError: in close"));
    assert_eq!(text(&memory), "x");
}

#[test]
fn the_first_error_wins_over_that_of_close_which_is_logged() {
    logged("");
    let source = format!(
        "{CLOSING}
def app(environ, start_response):
    start_response('200 OK', [])
    return Body([b'x', KeyError('first')], ValueError('second'))
"
    );
    let error = call(&source).1.unwrap_err();
    assert!(matches!(error, AppError::AfterHead(_)));
    assert!(error.traceback().unwrap().contains("KeyError: 'first'"));
    assert_eq!(logged("ValueError: second").len(), 1);
}

#[test]
fn a_lost_client_is_not_the_applications_fault() {
    let bodies = [
        "start_response('200 OK', [])\nreturn [b'hello']",
        "start_response('200 OK', [])\nreturn iter([b'hello'])",
        "start_response('200 OK', [])(b'hello')\nreturn []",
    ];
    for body in bodies {
        let lost = Memory { breaks_after: Some(2), ..Memory::default() };
        let (memory, result) = run_with(body, lost);
        match result {
            Err(AppError::Disconnected(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{body}");
            }
            other => panic!("{body}: {other:?}"),
        }
        assert_eq!(text(&memory), "he");
    }
}

#[test]
fn a_failure_the_application_handled_does_not_excuse_a_later_one() {
    let (_, result) = run_with(
        "
write = start_response('200 OK', [])
try:
    write(b'hello')
except BrokenPipeError:
    raise KeyError('own') from None",
        Memory { breaks_after: Some(0), ..Memory::default() },
    );
    assert!(matches!(result, Err(AppError::AfterHead(_))), "{result:?}");
}

#[test]
fn slow_clients_are_waited_for() {
    let memory = Memory { reluctant: true, step: 2, ..Memory::default() };
    let source = "start_response('200 OK', [])\nreturn iter([b'hello', b' ', b'world'])";
    let (memory, result) = run_with(source, memory);
    result.unwrap();
    assert_eq!((text(&memory), memory.rests), ("hello world", 0));
    assert!(memory.waits > 0);
}

/// Nobody waits for the reader of a body whose every piece is known.
#[test]
fn what_is_known_whole_is_handed_over() {
    for (headers, returned, rests) in [
        ("", "[b'hello', b' ', b'world']", 3),
        ("", "(b'hello', b'', b' ', b'world')", 3),
        // As frameworks return a page: one piece, wrapped, with its length.
        ("('Content-Length', '11')", "iter([b'hello world'])", 1),
        ("('Content-Length', '11')", "iter([b'hello world', b'excess'])", 1),
    ] {
        let memory = Memory { reluctant: true, step: 2, ..Memory::default() };
        let source = format!("start_response('200 OK', [{headers}])\nreturn {returned}");
        let (memory, result) = run_with(&source, memory);
        result.unwrap();
        assert_eq!((text(&memory), memory.waits), ("hello world", 0), "{returned}");
        assert_eq!(memory.rests, rests, "{returned}");
    }
}

#[test]
fn what_is_left_of_the_last_piece_is_handed_over() {
    let memory = Memory { step: 2, ..Memory::default() };
    let (memory, result) = run_with("start_response('200 OK', [])\nreturn [b'hello']", memory);
    result.unwrap();
    assert_eq!((text(&memory), memory.pieces, memory.rests), ("hello", 1, 1));
    // Cut to its Content-Length, too.
    let memory = Memory { step: 2, ..Memory::default() };
    let (memory, result) =
        run_with("start_response('200 OK', [('Content-Length', '4')])\nreturn [b'hello']", memory);
    result.unwrap();
    assert_eq!((text(&memory), memory.rests), ("hell", 1));
}

#[test]
fn one_request_cannot_reach_into_the_next() {
    let source = "
kept = []
def app(environ, start_response):
    if kept:
        write, old = kept.pop(), kept.pop()
        for late in (lambda: write(b'late'), lambda: old('500 Late', [])):
            try:
                late()
            except ValueError:
                continue
            raise AssertionError('reached')
        start_response('200 OK', [])
        return [b'second']
    kept.extend((start_response, start_response('200 OK', [])))
    return [b'first']
";
    let app = app(source);
    for expected in ["first", "second", "first"] {
        let (memory, result) = app.call(get(&[]), Memory::default());
        result.unwrap_or_else(|error| panic!("{:?}", error.traceback()));
        assert_eq!(text(&memory), expected);
    }
}

#[test]
fn another_kind_of_exchange_may_follow() {
    struct Other(Memory);
    impl rgunicorn_wsgi::Exchange for Other {
        fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read_body(buffer)
        }
        fn send_head(&mut self, head: &rgunicorn_wsgi::ResponseHead<'_>) -> io::Result<()> {
            self.0.send_head(head)
        }
        fn send_data(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.send_data(data)
        }
        fn wait(&mut self) -> io::Result<()> {
            self.0.wait()
        }
    }
    let app = app(&application("start_response('200 OK', [])\nreturn [b'hello']"));
    let (first, result) = app.call(get(&[]), Memory::default());
    result.unwrap();
    // This one keeps the default `send_rest` and takes two bytes at a time, with waits.
    let reluctant = Memory { step: 2, reluctant: true, ..Memory::default() };
    let (second, result) = app.call(get(&[]), Other(reluctant));
    result.unwrap();
    assert_eq!((text(&first), text(&second.0)), ("hello", "hello"));
}

#[test]
fn calls_may_be_nested_and_made_attached() {
    let inner = app(&application("start_response('200 OK', [])\nreturn [b'inner']"));
    Python::initialize();
    let (memory, result) = Python::attach(|_| inner.call(get(&[]), Memory::default()));
    result.unwrap();
    assert_eq!(text(&memory), "inner");
}
