//! The application as a `tower_service::Service`, called directly and behind hyper.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rgunicorn_wsgi::pyo3::prelude::*;
use rgunicorn_wsgi::{App, EnvironOptions, Scheme, Transport, WsgiBody, WsgiService};
use support::{app, logged, module};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

type Job = Box<dyn FnOnce() + Send>;

fn service(source: &str) -> WsgiService<fn(Job)> {
    WsgiService::new(app(source), spawn)
}

fn spawn(job: Job) {
    tokio::task::spawn_blocking(job);
}

/// Calls the service without any server.
async fn call<B>(service: &WsgiService<fn(Job)>, request: Request<B>) -> Response<WsgiBody>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    service.clone().call(request).await.unwrap()
}

async fn text(body: impl Body<Data = Bytes, Error: std::fmt::Debug>) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap()
}

fn get(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

/// Serves on a free port until the test ends.
async fn serve(service: WsgiService<fn(Job)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let local = stream.local_addr().unwrap();
            let service = service.clone();
            let answer = move |mut request: Request<Incoming>| {
                let transport = Transport::default().peer(peer).local(local);
                request.extensions_mut().insert(transport);
                service.clone().call(request)
            };
            let answer = hyper::service::service_fn(answer);
            tokio::spawn(async move {
                let mut preface = [0; 3];
                stream.peek(&mut preface).await.unwrap();
                let io = TokioIo::new(stream);
                let served = if preface == *b"PRI" {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    server.serve_connection(io, answer).await
                } else {
                    let server = hyper::server::conn::http1::Builder::new();
                    server.serve_connection(io, answer).await
                };
                // Clients that break off are what some tests are about.
                served.ok();
            });
        }
    });
    address
}

/// Sends one request on a connection of its own.
async fn fetch<B>(address: SocketAddr, request: Request<B>) -> hyper::Result<Response<Incoming>>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// Sends one request as it is written, and returns all that comes until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response.to_ascii_lowercase()
}

/// Waits for an event of the module's, in which case the application has come that far.
async fn until(module: &Py<PyModule>, event: &'static str) {
    let module = Python::attach(|py| module.clone_ref(py));
    let is_set = tokio::task::spawn_blocking(move || {
        Python::attach(|py| {
            let event = module.getattr(py, event).unwrap();
            event.call_method1(py, "wait", (30,)).unwrap().extract::<bool>(py).unwrap()
        })
    });
    assert!(is_set.await.unwrap(), "no {event}");
}

fn read<'py, T>(py: Python<'py>, module: &Py<PyModule>, name: &str) -> T
where
    T: for<'a> FromPyObject<'a, 'py, Error: std::fmt::Debug>,
{
    module.bind(py).getattr(name).unwrap().extract().unwrap()
}

fn of_module(module: &Py<PyModule>) -> WsgiService<fn(Job)> {
    let callable = Python::attach(|py| module.getattr(py, "app").unwrap());
    WsgiService::new(App::new(callable, EnvironOptions::default()), spawn)
}

/// Answers with these variables of the environ, one a line.
const SHOW: &str = "
def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = environ['QUERY_STRING'].split('&')
    return ['\\n'.join(repr(environ.get(name)) for name in names).encode()]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_told_as_it_is() {
    let address = serve(service(SHOW)).await;
    let names = "REQUEST_METHOD&SCRIPT_NAME&PATH_INFO&RAW_URI&SERVER_PROTOCOL&REMOTE_ADDR&\
                 SERVER_NAME&SERVER_PORT&wsgi.url_scheme&wsgi.multithread&HTTP_X_TWICE&HTTP_HOST";
    let request = Request::get(format!("/caf%C3%A9?{names}"))
        .header("Host", "example.org")
        .header("X-Twice", "1")
        .header("X-Twice", "2")
        .body(Empty::new());
    let response = fetch(address, request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain");
    let shown = text(response).await;
    let expected = format!(
        "'GET'\n''\n'/cafÃ©'\n'/caf%C3%A9?{names}'\n'HTTP/1.1'\n'127.0.0.1'\n'127.0.0.1'\n'{}'\n\
         'http'\nTrue\n'1,2'\n'example.org'",
        address.port()
    );
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_told_comes_from_uri_and_host() {
    let names = "REMOTE_ADDR&REMOTE_PORT&SERVER_NAME&SERVER_PORT&wsgi.url_scheme&HTTP_HOST";
    let service = service(SHOW);
    let uri = format!("https://user@example.org:8443/?{names}");
    let shown = text(call(&service, get(&uri)).await).await;
    assert_eq!(shown, "''\nNone\n'example.org'\n'8443'\n'https'\n'example.org:8443'");

    let shown = text(call(&service, get(&format!("/?{names}"))).await).await;
    assert_eq!(shown, "''\nNone\n'localhost'\n'80'\n'http'\nNone");

    let mut request = get(&format!("/?{names}"));
    let transport = Transport::default().peer("[::ffff:192.0.2.7]:50312".parse().unwrap());
    request.extensions_mut().insert(transport.scheme(Scheme::Https));
    let shown = text(call(&service, request).await).await;
    assert_eq!(shown, "'192.0.2.7'\n'50312'\n'localhost'\n'443'\n'https'\nNone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_is_the_script_name() {
    let names = "SCRIPT_NAME&PATH_INFO&RAW_URI";
    let mounted = service(SHOW).mount("/le gacy/");
    let shown = text(call(&mounted, get(&format!("/a%2Fb?{names}"))).await).await;
    assert_eq!(shown, format!("'/le gacy'\n'/a/b'\n'/le%20gacy/a%2Fb?{names}'"));
    // A router that matches the prefix alone hands on a slash.
    let shown = text(call(&mounted, get(&format!("/?{names}"))).await).await;
    assert_eq!(shown, format!("'/le gacy'\n'/'\n'/le%20gacy/?{names}'"));
    // Mounted again, it is mounted elsewhere.
    let shown = text(call(&mounted.clone().mount(""), get(&format!("/x?{names}"))).await).await;
    assert_eq!(shown, format!("''\n'/x'\n'/x?{names}'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_has_host_and_one_cookie() {
    let address = serve(service(SHOW)).await;
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://example.org/?SERVER_PROTOCOL&HTTP_HOST&HTTP_COOKIE")
        .header("Cookie", "a=1")
        .header("Cookie", "b=2")
        .body(Empty::<Bytes>::new());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(text(response).await, "'HTTP/2.0'\n'example.org'\n'a=1; b=2'");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_are_those_of_rfc_9110() {
    let address = serve(service(
        "
def app(environ, start_response):
    status, length, kind = environ['QUERY_STRING'].split('&')
    start_response(status, [('Content-Length', length)] if length else [])
    return {'list': [b'12', b'345'], 'iter': iter([b'12', b'345']), 'none': []}[kind]
",
    ))
    .await;
    let length = |value: &str| format!("\r\ncontent-length: {value}\r\n");
    // Method, query, the length that the head tells, and the body.
    let cases = [
        ("GET", "200&&list", Some("5"), "12345"),
        ("GET", "200&5&list", Some("5"), "12345"),
        ("GET", "200&5&iter", Some("5"), "12345"),
        ("GET", "200&4&iter", Some("4"), "1234"),
        ("GET", "200&&iter", None, "2\r\n12\r\n3\r\n345\r\n0\r\n\r\n"),
        ("GET", "200&&none", Some("0"), ""),
        ("HEAD", "200&5&list", Some("5"), ""),
        ("HEAD", "200&&list", Some("5"), ""),
        ("HEAD", "200&&iter", None, ""),
        ("HEAD", "200&&none", None, ""),
        ("GET", "204&&none", None, ""),
        ("GET", "204&5&list", None, ""),
        ("GET", "304&5&none", None, ""),
        ("GET", "304&&iter", None, ""),
        ("GET", "999&&list", Some("5"), "12345"),
    ];
    for (method, query, told, body) in cases {
        let request =
            format!("{method} /?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = exchange(address, &request).await;
        let (head, shown) = response.split_once("\r\n\r\n").unwrap();
        let head = format!("{head}\r\n");
        assert!(head.starts_with(&format!("http/1.1 {}", &query[..3])), "{method} {query}: {head}");
        assert_eq!(head.matches("content-length").count(), usize::from(told.is_some()), "{head}");
        assert!(told.is_none_or(|told| head.contains(&length(told))), "{method} {query}: {head}");
        // hyper may send two pieces as one chunk.
        let body = if shown.starts_with("5\r\n") { "5\r\n12345\r\n0\r\n\r\n" } else { body };
        assert_eq!(shown, body, "{method} {query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_a_body_does_not_wait_for_one() {
    let module = module(
        "
import threading
answered = threading.Semaphore(0)
in_vain = False
def app(environ, start_response):
    start_response(environ['QUERY_STRING'], [('Content-Length', '9')])
    yield b'x'
    global in_vain
    in_vain = not answered.acquire(timeout=20)
    yield b'x' * 8
",
    );
    for (method, query) in [("HEAD", "200"), ("GET", "304"), ("GET", "204")] {
        let request = Request::builder().method(method).uri(format!("/?{query}"));
        let response =
            call(&of_module(&module), request.body(Empty::<Bytes>::new()).unwrap()).await;
        // A server would tell the client a length that the body knows.
        assert!(response.body().is_end_stream());
        assert_eq!(response.body().size_hint().exact(), None);
        let length =
            response.headers().get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!(length, if query == "204" { None } else { Some("9") });
        assert!(response.into_body().frame().await.is_none());
        Python::attach(|py| {
            assert!(!read::<bool>(py, &module, "in_vain"));
            module.getattr(py, "answered").unwrap().call_method0(py, "release").unwrap();
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_go_both_ways_at_once() {
    let address = serve(service(
        "
def app(environ, start_response):
    start_response('200 OK', [])
    read = environ['wsgi.input'].read
    return iter(lambda: read(50_000), b'')
",
    ))
    .await;
    let piece: Vec<u8> = (0..=u8::MAX).cycle().take(100_003).collect();
    let (mut sender, body) = Channel::new(1);
    let request = Request::post("/").header("Host", "a").body(body).unwrap();
    let sent = piece.clone();
    let upload = tokio::spawn(async move {
        for _ in 0..100 {
            sender.send_data(Bytes::from(sent.clone())).await.unwrap();
        }
    });
    // The head comes while most of the upload is still to be sent: neither end could hold it all.
    let response = fetch(address, request).await.unwrap();
    let echo = response.collect().await.unwrap().to_bytes();
    upload.await.unwrap();
    assert_eq!(echo.len(), 10_000_300);
    assert!(echo == piece.repeat(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_waits_for_a_slow_uploader() {
    let address = serve(service(
        "
def app(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.input']
",
    ))
    .await;
    let (mut sender, body) = Channel::new(1);
    let request = Request::post("/").header("Host", "a").body(body).unwrap();
    sender.send_data(Bytes::from("first\n")).await.unwrap();
    let mut response = fetch(address, request).await.unwrap();
    // Each line comes back before the next one is sent.
    assert_eq!(next(&mut response).await.unwrap(), "first\n");
    sender.send_data(Bytes::from("second\nand")).await.unwrap();
    assert_eq!(next(&mut response).await.unwrap(), "second\n");
    drop(sender);
    assert_eq!(next(&mut response).await.unwrap(), "and");
    assert!(response.frame().await.is_none());
}

async fn next<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Result<Bytes, B::Error> {
    Ok(body.frame().await.unwrap()?.into_data().ok().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_waits_for_a_slow_reader() {
    const PIECE: usize = 10_000;
    const BUFFER: usize = 128 * 1024;
    let module = module(
        "
pushed = 0
def app(environ, start_response):
    start_response('200 OK', [])
    def pieces():
        global pushed
        for _ in range(1000):
            pushed += 1
            yield b'x' * 10_000
    return pieces()
",
    );
    let mut body = call(&of_module(&module), get("/")).await.into_body();
    let mut taken = 0;
    while let Some(frame) = body.frame().await {
        taken += frame.unwrap().into_data().unwrap().len();
        // Time in which an application that does not wait would run away.
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let pushed: usize = Python::attach(|py| read(py, &module, "pushed"));
            let ahead = pushed * PIECE - taken;
            assert!(ahead <= BUFFER + PIECE, "{ahead} bytes ahead of its reader");
        }
    }
    assert_eq!(taken, 1000 * PIECE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_whole_does_not_hold_the_application() {
    let module = module(
        "
import threading
done = threading.Event()
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '5000000')])
    try:
        yield b'x' * 5_000_000
    finally:
        done.set()
",
    );
    let response = call(&of_module(&module), get("/")).await;
    until(&module, "done").await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 5_000_000);
}

/// An application that streams for ever and tells when it was closed.
const ENDLESS: &str = "
import threading
closed = threading.Event()
class Endless:
    def __iter__(self):
        return self
    def __next__(self):
        return b'x' * 10_000
    def close(self):
        closed.set()
def app(environ, start_response):
    start_response('200 OK', [])
    return Endless()
";

#[tokio::test(flavor = "multi_thread")]
async fn the_iteration_ends_and_is_closed_when_the_client_leaves() {
    let module = module(ENDLESS);
    let address = serve(of_module(&module)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    stream.read_exact(&mut vec![0; 100_000]).await.unwrap();
    assert!(!Python::attach(|py| {
        module
            .getattr(py, "closed")
            .unwrap()
            .call_method0(py, "is_set")
            .unwrap()
            .is_truthy(py)
            .unwrap()
    }));
    drop(stream);
    until(&module, "closed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_ends_when_the_client_leaves() {
    let module = module(
        "
import threading
reading, failed = threading.Event(), threading.Event()
def app(environ, start_response):
    assert environ['wsgi.input'].read(4) == b'half'
    reading.set()
    try:
        environ['wsgi.input'].read()
    except OSError:
        failed.set()
        raise
",
    );
    // Behind a server, which breaks the body or drops the response, whichever comes first ...
    let address = serve(of_module(&module)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf").await.unwrap();
    until(&module, "reading").await;
    drop(stream);
    until(&module, "failed").await;

    // ... and where only the response is dropped.
    Python::attach(|py| {
        for event in ["reading", "failed"] {
            module.getattr(py, event).unwrap().call_method0(py, "clear").unwrap();
        }
    });
    let (mut sender, body) = Channel::<Bytes>::new(1);
    sender.send_data(Bytes::from("half")).await.unwrap();
    let response = of_module(&module).call(Request::post("/").body(body).unwrap());
    until(&module, "reading").await;
    drop(response);
    until(&module, "failed").await;
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_was_taken_whole_is_not_abandoned() {
    let module = module(
        "
import threading
taken, finished = threading.Semaphore(0), threading.Event()
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    yield environ['wsgi.input'].read(4)
    assert taken.acquire(timeout=20)
    assert environ['wsgi.input'].read() == b''
    finished.set()
",
    );
    let request = Request::post("/").body(Full::<Bytes>::from("body")).unwrap();
    let mut response = call(&of_module(&module), request).await;
    assert_eq!(next(response.body_mut()).await.unwrap(), "body");
    // A server knows by the length that no more will come.
    drop(response);
    Python::attach(|py| {
        module.getattr(py, "taken").unwrap().call_method0(py, "release").unwrap();
    });
    until(&module, "finished").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_left_before_its_turn_costs_no_call() {
    let module = module(
        "
calls = 0
def app(environ, start_response):
    global calls
    calls += 1
",
    );
    let (jobs, mut queue) = tokio::sync::mpsc::unbounded_channel::<Job>();
    let callable = Python::attach(|py| module.getattr(py, "app").unwrap());
    let queueing = move |job| jobs.send(job).unwrap();
    let mut service = WsgiService::new(App::new(callable, EnvironOptions::default()), queueing);
    drop(service.call(get("/")));
    tokio::task::spawn_blocking(queue.recv().await.unwrap()).await.unwrap();
    assert_eq!(Python::attach(|py| read::<usize>(py, &module, "calls")), 0);

    // A job that is never run is an answer, too.
    let response = service.call(get("/"));
    drop(queue.recv().await.unwrap());
    assert_eq!(response.await.unwrap().status(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_before_the_head_is_a_500() {
    logged("");
    let cases = [
        ("raise ValueError('early')", "ValueError: early"),
        ("return [b'x']", "did not call start_response()"),
        ("start_response('101 Switching Protocols', [])\nreturn []", "not '101 Switching"),
        ("start_response('200 OK', [('Content-Length', '3')])\nreturn []", "no body although"),
        ("start_response('200 OK', [])\nyield b''\nraise ValueError('late')", "ValueError: late"),
    ];
    for (number, (lines, message)) in cases.into_iter().enumerate() {
        let source = format!("def app(environ, start_response):\n{}", support::indented(lines));
        let address = serve(service(&source)).await;
        let response = fetch(address, get(&format!("/early{number}"))).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{lines}");
        assert_eq!(text(response).await, "", "{lines}");
        let lines = logged(&format!("Error handling request GET /early{number}"));
        assert!(matches!(lines.as_slice(), [line] if line.contains(message)), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_after_the_head_cuts_the_response() {
    logged("");
    let cases = [
        ("[]", "yield b'part'\nraise ValueError('late')", "ValueError: late"),
        (
            "[('Content-Length', '9')]",
            "yield b'part'\nraise ValueError('late')",
            "ValueError: late",
        ),
        ("[('Content-Length', '9')]", "yield b'part'", "sent 4 bytes"),
        ("[('Content-Length', '9')]", "return [b'part']", "sent 4 bytes"),
    ];
    for (number, (fields, lines, message)) in cases.into_iter().enumerate() {
        let body = support::indented(&format!("start_response('200 OK', {fields})\n{lines}"));
        let address = serve(service(&format!("def app(environ, start_response):\n{body}"))).await;
        let request = get(&format!("/late{number}"));
        let result = match fetch(address, request).await {
            Ok(response) => {
                assert_eq!(response.status(), 200);
                response.collect().await.map(drop)
            }
            // hyper had not sent the head yet.
            Err(error) => Err(error),
        };
        assert!(result.is_err(), "{fields} {lines}");
        let lines = logged(&format!("Error handling request GET /late{number}"));
        assert!(matches!(lines.as_slice(), [line] if line.contains(message)), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_close_comes_after_a_whole_response() {
    logged("");
    let service = service(
        "
class Body(list):
    def close(self):
        raise ValueError('in close')
def app(environ, start_response):
    start_response('200 OK', [])
    return Body([b'whole'])
",
    );
    assert_eq!(text(call(&service, get("/close")).await).await, "whole");
    assert_eq!(logged("GET /close").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_body_is_an_os_error() {
    let source = "
def app(environ, start_response):
    read = environ['wsgi.input'].read
    if environ['PATH_INFO'] == '/raise':
        return [read()]
    errors = []
    for _ in range(2):
        try:
            read()
        except OSError as error:
            errors.append(str(error))
    start_response('200 OK', [])
    return [repr(errors).encode()]
";
    let service = service(source);
    let request = |uri: &str| {
        let (mut sender, body) = Channel::<Bytes, io::Error>::new(2);
        let request = Request::post(uri).body(body).unwrap();
        sender.try_send(Frame::data(Bytes::from("half"))).unwrap();
        sender.abort(io::Error::other("bad chunk"));
        request
    };
    let response = call(&service, request("/")).await;
    assert_eq!(text(response).await, "['bad chunk', 'the request body is broken']");
    assert_eq!(call(&service, request("/raise")).await.status(), StatusCode::BAD_REQUEST);
}

/// A body that was written by somebody else.
struct Panicking;

impl Body for Panicking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("in the body")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_the_response() {
    let service = service(
        "
def app(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/late':
        yield b'part'
    yield environ['wsgi.input'].read()
",
    );
    let request = |uri: &str| Request::post(uri).body(Panicking).unwrap();
    assert_eq!(call(&service, request("/")).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let response = call(&service, request("/late")).await;
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_to_continue_when_the_application_reads() {
    let address = serve(service(
        "
def app(environ, start_response):
    body = environ['wsgi.input'].read() if environ['PATH_INFO'] == '/read' else b'unread'
    start_response('200 OK', [])
    return [body]
",
    ))
    .await;
    let head = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\
                Expect: 100-continue\r\n\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("POST /read {head}").as_bytes()).await.unwrap();
    let mut informational = [0; 25];
    stream.read_exact(&mut informational).await.unwrap();
    assert_eq!(&informational, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.ends_with("\r\n\r\nbody"), "{response}");

    let response = exchange(address, &format!("POST /ignore {head}")).await;
    assert!(response.starts_with("http/1.1 200"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_are_dropped() {
    let service = service(
        "
def app(environ, start_response):
    start_response('200 OK', [])
    return [environ['wsgi.input'].read(), repr('HTTP_DIGEST' in environ).encode()]
",
    );
    let (mut sender, body): (Sender<Bytes>, _) = Channel::new(3);
    for piece in ["one, ", "two, "] {
        sender.send_data(Bytes::from(piece)).await.unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("digest", "xyz".parse().unwrap());
    sender.send_trailers(trailers).await.unwrap();
    drop(sender);
    let response = call(&service, Request::post("/").body(body).unwrap()).await;
    assert_eq!(text(response).await, "one, two, False");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_run_side_by_side() {
    // None of them ends before all of them have begun.
    let address = serve(service(
        "
import threading
barrier = threading.Barrier(100)
def app(environ, start_response):
    body = environ['wsgi.input'].read()
    barrier.wait(60)
    start_response('200 OK', [])
    return iter([environ['PATH_INFO'].encode(), b' ', body])
",
    ))
    .await;
    let requests: Vec<_> = (0..100)
        .map(|number| {
            tokio::spawn(async move {
                let body = Full::from(format!("body {number}"));
                let request = Request::builder().method(Method::PUT).uri(format!("/{number}"));
                fetch(address, request.body(body).unwrap()).await.unwrap()
            })
        })
        .collect();
    for (number, response) in requests.into_iter().enumerate() {
        let shown = text(response.await.unwrap()).await;
        assert_eq!(shown, format!("/{number} body {number}"));
    }
}
