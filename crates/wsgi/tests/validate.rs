//! The standard library's own judgement: `wsgiref.validate`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use rgunicorn_wsgi::Request;
use support::{Memory, app, get, text};

const VALIDATED: &str = "
import io, warnings
from wsgiref.validate import validator
warnings.simplefilter('error')

def inner(environ, start_response):
    path = environ['PATH_INFO']
    environ['wsgi.errors'].write('')
    environ['wsgi.errors'].writelines([])
    environ['wsgi.errors'].flush()
    if path == '/echo':
        input = environ['wsgi.input']
        body = input.read(2) + input.readline() + b''.join(input.readlines()) + b''.join(input)
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
        return [body]
    if path == '/file':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return environ['wsgi.file_wrapper'](io.BytesIO(b'from a file'))
    if path == '/stream':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return (piece for piece in [b'a ', b'', b'stream'])
    if path == '/write':
        write = start_response('200 OK', [('Content-Type', 'text/plain')])
        write(b'written, ')
        return [b'returned']
    if path == '/none':
        start_response('204 No Content', [])
        return []
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [] if environ['REQUEST_METHOD'] == 'HEAD' else [b'hello']

app = validator(inner)
";

#[test]
fn the_validator_finds_nothing() {
    let app = app(VALIDATED);
    let cases: [(&str, &[u8], &[u8], &str); 8] = [
        ("GET", b"/", b"", "hello"),
        ("HEAD", b"/", b"", ""),
        ("GET", b"/?a=b", b"", "hello"),
        ("POST", b"/echo", b"some\nlines\nof text", "some\nlines\nof text"),
        ("GET", b"/file", b"", "from a file"),
        ("GET", b"/stream", b"", "a stream"),
        ("GET", b"/write", b"", "written, returned"),
        ("DELETE", b"/none", b"", ""),
    ];
    for (method, target, body, expected) in cases {
        let length = body.len().to_string();
        let headers = [(&b"Host"[..], &b"example.org"[..]), (b"Content-Length", length.as_bytes())];
        let request = Request { method, target, has_body: !body.is_empty(), ..get(&headers) };
        let (memory, result) = app.call(request, Memory::with_body(body));
        result.unwrap_or_else(|error| panic!("{:?}", error.traceback()));
        assert_eq!(text(&memory), expected, "{method} {}", target.escape_ascii());
    }
}
