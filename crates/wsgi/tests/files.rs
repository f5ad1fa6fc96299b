//! `wsgi.file_wrapper`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use rgunicorn_wsgi::{AppError, Request, Violation};
use support::{Memory, app, get, indented, logged, text};

/// Returns what `body` says of a file with the content `0123456789`.
fn run(body: &str, memory: Memory) -> (Memory, Result<(), AppError>) {
    run_with("GET", body, memory)
}

fn run_with(method: &str, body: &str, memory: Memory) -> (Memory, Result<(), AppError>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, b"0123456789").unwrap();
    let path = path.display();
    let body = indented(body);
    let source = format!(
        "
import gzip, io, os, tempfile
path = '{path}'
def app(environ, start_response):
    wrap = environ['wsgi.file_wrapper']
    file = open(path, 'rb')
{body}
"
    );
    app(&source).call(Request { method, ..get(&[]) }, memory)
}

fn sends_files() -> Memory {
    Memory { sends_files: true, ..Memory::default() }
}

#[test]
fn plain_files_are_sent_by_the_exchange() {
    let cases = [
        ("", "return wrap(file)", "0123456789", Some(10)),
        ("", "return wrap(file, 3)", "0123456789", Some(10)),
        ("", "return wrap(filelike=file, blksize=3)", "0123456789", Some(10)),
        ("", "file.seek(4)\nreturn wrap(file)", "456789", Some(6)),
        // The descriptor is at the end of the file by then, the Python object is not.
        ("", "file.read(2)\nreturn wrap(file)", "23456789", Some(8)),
        ("", "return wrap(open(path, 'rb', buffering=0))", "0123456789", Some(10)),
        ("", "return wrap(open(path, 'r+b'))", "0123456789", Some(10)),
        ("('Content-Length', '4')", "return wrap(file)", "0123", None),
        ("('Content-Length', '4')", "file.seek(3)\nreturn wrap(file)", "3456", None),
    ];
    for (header, returned, expected, length) in cases {
        for (step, reluctant) in [(0, false), (3, true)] {
            let memory = Memory { step, reluctant, ..sends_files() };
            let body = format!("start_response('200 OK', [{header}])\n{returned}");
            let (memory, result) = run(&body, memory);
            result.unwrap();
            assert_eq!(text(&memory), expected, "{returned}");
            assert_eq!(memory.head().length, length, "{returned}");
            assert!(memory.files > 0 && memory.pieces == 0, "{returned}");
        }
    }
}

#[test]
fn an_exchange_that_cannot_send_files_gets_data() {
    logged("");
    let cases = [
        ("", "return wrap(file)", "0123456789", Some(10)),
        ("", "file.seek(4)\nreturn wrap(file, 4)", "456789", Some(6)),
        ("('Content-Length', '4')", "return wrap(file)", "0123", None),
    ];
    for (header, returned, expected, length) in cases {
        let body = format!("start_response('200 OK', [{header}])\n{returned}");
        let (memory, result) = run(&body, Memory::default());
        result.unwrap();
        assert_eq!((text(&memory), memory.head().length), (expected, length), "{returned}");
    }
    // A part of a file is no mistake.
    assert!(logged("longer than").is_empty());
}

#[test]
fn what_is_not_a_plain_file_is_read() {
    let cases = [
        ("return wrap(io.BytesIO(b'0123456789'))", "0123456789"),
        // Its fileno() is that of the compressed file.
        (
            "with gzip.open(path + '.gz', 'wb') as out: out.write(b'unpacked')\nreturn wrap(gzip.open(path + '.gz'))",
            "unpacked",
        ),
        (
            "r, w = os.pipe()\nos.write(w, b'piped')\nos.close(w)\nreturn wrap(open(r, 'rb'))",
            "piped",
        ),
        ("return wrap(iter)", ""),
        (
            "class F(io.FileIO):\n    def read(self, size): return super().read(size).replace(b'0', b'x')\nreturn wrap(F(path))",
            "x123456789",
        ),
        // Wrapped in middleware it is an iterable like any other.
        ("return (piece for piece in wrap(file))", "0123456789"),
        ("return [b''.join(wrap(file, 3))]", "0123456789"),
    ];
    for (returned, expected) in cases {
        let (memory, result) =
            run(&format!("start_response('200 OK', [])\n{returned}"), sends_files());
        if returned.contains("iter)") {
            assert!(result.unwrap_err().traceback().unwrap().contains("AttributeError"));
            continue;
        }
        result.unwrap();
        assert_eq!((text(&memory), memory.files), (expected, 0), "{returned}");
    }
}

#[test]
fn head_and_empty_files() {
    let wrapped = "start_response('200 OK', [])\nreturn wrap(file)";
    let (memory, result) = run_with("HEAD", wrapped, sends_files());
    result.unwrap();
    assert_eq!((text(&memory), memory.head().length), ("", Some(10)));

    let (memory, result) =
        run("start_response('200 OK', [])\nfile.seek(0, 2)\nreturn wrap(file)", sends_files());
    result.unwrap();
    assert_eq!((text(&memory), memory.head().length), ("", Some(0)));
}

#[test]
fn write_before_the_file_counts() {
    let (memory, result) = run(
        "start_response('200 OK', [('Content-Length', '6')])(b'ab')\nreturn wrap(file)",
        sends_files(),
    );
    result.unwrap();
    assert_eq!(text(&memory), "ab0123");
}

#[test]
fn a_file_shorter_than_announced_is_a_violation() {
    for memory in [sends_files(), Memory::default()] {
        let (memory, result) =
            run("start_response('200 OK', [('Content-Length', '20')])\nreturn wrap(file)", memory);
        let expected = Violation::BodyTooShort { declared: 20, sent: 10 };
        match result {
            Err(AppError::Protocol(violation)) => assert_eq!(violation, expected),
            other => panic!("{other:?}"),
        }
        assert_eq!(text(&memory), "0123456789");
    }
}

#[test]
fn the_file_is_closed() {
    let source = "
import os
files = [open(os.devnull, 'rb')]
def app(environ, start_response):
    start_response('200 OK', [])
    if files[0].closed: return [b'closed']
    wrapper = environ['wsgi.file_wrapper'](files[0])
    assert wrapper.filelike is files[0] and wrapper.blksize == 8192
    return wrapper
";
    let app = app(source);
    app.call(get(&[]), sends_files()).1.unwrap();
    let (memory, result) = app.call(get(&[]), sends_files());
    result.unwrap();
    assert_eq!(text(&memory), "closed");
}
