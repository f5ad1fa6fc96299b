//! Sites in the frameworks that people use, served without a proxy; and what is large.

#![expect(clippy::indexing_slicing, reason = "helpers fail their test by panicking, as tests do")]

use rgunicorn_tests::{
    BOTTLE, Browser, DJANGO, Entrance, FALCON, FLASK, Framework, Launch, PYRAMID, Server, Signal,
    download, measured, visit,
};

#[test]
fn bottle_is_served() {
    serve(&BOTTLE);
}

#[test]
fn django_is_served() {
    serve(&DJANGO);
}

#[test]
fn falcon_is_served() {
    serve(&FALCON);
}

#[test]
fn flask_is_served() {
    serve(&FLASK);
}

#[test]
fn pyramid_is_served() {
    serve(&PYRAMID);
}

/// Several visitors at once, to several workers: what one of them knows of a visitor must be in
/// the cookie.
fn serve(framework: &Framework) {
    let Some(launch) = framework.launch() else {
        return;
    };
    let server = launch.args(&["--workers", "2"]).start();
    std::thread::scope(|visitors| {
        for _ in 0..4 {
            visitors.spawn(|| visit(&server, &Entrance::from(&server), "http"));
        }
    });
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn a_slow_reader_of_a_large_page_holds_up_nobody() {
    for framework in [BOTTLE, DJANGO, FALCON, FLASK, PYRAMID] {
        let Some(launch) = framework.launch() else {
            continue;
        };
        let server = launch.start();
        let mut slow = server.connect();
        slow.send("GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(!slow.is_closed(), "the page begins");
        let mut good = Browser::new(Entrance::from(&server));
        for _ in 0..10 {
            assert_eq!(good.get("/hello/you").text(), "Hello, you!", "{}", framework.package);
        }
        assert_eq!(slow.receive().body.len(), 16 << 20);
    }
}

#[test]
fn a_large_upload_to_a_framework_needs_no_memory() {
    // Those that write large files to disk, or hand them on in pieces.
    for framework in [DJANGO, FALCON, FLASK, PYRAMID] {
        let Some(launch) = framework.launch() else {
            continue;
        };
        let server = launch.start();
        let mut browser = Browser::new(Entrance::from(&server));
        browser.upload("/upload", "small", b"content");
        let growth = growth_of_the_worker(&server, || {
            let response = browser.upload("/upload", "large", &vec![b'x'; 64 << 20]);
            assert_eq!(response.text(), format!("large a.bin {SHA256_OF_64_MIB_OF_X}"));
        });
        measured(&format!("{}: 64 MiB take {} KiB", framework.package, growth >> 10));
        assert!(growth <= 12 << 20, "{growth} bytes");
    }
}

/// Reads bodies in pieces; sends a file of 1 GB that is mostly a hole.
const LARGE: &str = r#"
import os

SIZE = 1_000_000_000
with open("large", "wb") as file:
    for position in range(0, SIZE, 100_000_000):
        file.seek(position)
        file.write(b"%09d" % position)
    file.truncate(SIZE)

def app(environ, start_response):
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [("Content-Length", str(SIZE))])
        return environ["wsgi.file_wrapper"](open("large", "rb"))
    total = 0
    while piece := environ["wsgi.input"].read(65536):
        total += len(piece)
    start_response("200 OK", [])
    return [b"read %d" % total]
"#;

#[test]
fn a_file_of_a_gigabyte_is_sent_without_memory() {
    let server = Launch::new(LARGE).start();
    assert_eq!(server.get("/").text(), "read 0");
    let growth = growth_of_the_worker(&server, || {
        let length = download(server.address(), "/large", |position, piece| {
            assert!(piece == large(position, piece.len()), "at {position}");
        });
        assert_eq!(length, 1_000_000_000);
    });
    measured(&format!("1 GB sent takes {} KiB", growth >> 10));
    assert!(growth <= 2 << 20, "{growth} bytes");
}

/// What the large file holds from a position on.
fn large(position: u64, length: usize) -> Vec<u8> {
    let mut piece = vec![0; length];
    for mark in (0..1_000_000_000_u64).step_by(100_000_000) {
        for (byte, at) in format!("{mark:09}").bytes().zip(mark..) {
            let offset = at.checked_sub(position).and_then(|offset| usize::try_from(offset).ok());
            if let Some(place) = offset.and_then(|offset| piece.get_mut(offset)) {
                *place = byte;
            }
        }
    }
    piece
}

#[test]
fn a_large_body_is_received_without_memory() {
    let server = Launch::new(LARGE).start();
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "read 0");
    let body = vec![b'x'; 64 << 20];
    let growth = growth_of_the_worker(&server, || {
        assert_eq!(client.post("/", &body).text(), "read 67108864");
        client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(1 << 20) {
            client.send("100000\r\n");
            client.send(piece);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.receive().text(), "read 67108864");
    });
    measured(&format!("64 MiB received twice take {} KiB", growth >> 10));
    assert!(growth <= 6 << 20, "{growth} bytes");
}

/// By how much the only worker's memory grows at most.
fn growth_of_the_worker(server: &Server, work: impl FnOnce()) -> u64 {
    let worker = server.wait_for_workers(1)[0];
    let before = worker.peak_memory_bytes();
    work();
    assert_eq!(server.workers(), [worker], "the worker lives");
    worker.peak_memory_bytes() - before
}

/// `python -c "print('x' * (64 << 20), end='')" | sha256sum`.
const SHA256_OF_64_MIB_OF_X: &str =
    "e20a69eca39368572e90b9135738a613838f954987a0b44b6220889c171cbb76";
