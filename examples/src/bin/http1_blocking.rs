//! An HTTP/1.1 server on `std` sockets: rgunicorn-http1 alone, without workers and without Python.
//!
//! ```text
//! cargo run -p rgunicorn-examples --bin http1_blocking -- 127.0.0.1:7001
//! ```
//!
//! It shows the loop around a protocol that does no IO: ask for the next event; where it needs data,
//! read; write what it appends to the output. Keep-alive, pipelining, chunked bodies and
//! `Expect: 100-continue` come with that. `http1_replay` runs the same loop without a socket.
//!
//! A thread that waits for a slow client serves nobody else: see `rust_handler` for workers that do.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use rgunicorn_examples::log_to_stderr;
use rgunicorn_http1::{Config, Connection, Event, Headers, Peer, ResponseHead, SendError};

/// As many clients are served at the same time; the others wait in the kernel's queue.
const THREADS: usize = 8;

/// A client that is silent for longer loses its connection.
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    log_to_stderr();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".to_owned());
    let listener = TcpListener::bind(address)?;
    log::info!("Listening at: http://{}", listener.local_addr()?);
    let config = Arc::new(Config::new().server("http1_blocking"));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for stream in listener.incoming() {
                    let served =
                        stream.map_err(Into::into).and_then(|stream| serve(&stream, &config));
                    if let Err(error) = served {
                        log::warn!("{error}");
                    }
                }
            });
        }
    });
    Ok(())
}

fn serve(mut stream: &TcpStream, config: &Arc<Config>) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let peer = Peer::Ip(stream.peer_addr()?.ip());
    let mut http = Connection::new(Arc::clone(config), peer);
    let (mut input, mut output) = ([0; 8192], BytesMut::new());
    let (mut request, mut body_bytes) = (String::new(), 0);
    loop {
        match http.next_event() {
            Ok(Event::NeedData) => {
                if http.wants_continue() {
                    http.send_informational(&ResponseHead::new(100, &[]), &mut output)?;
                    stream.write_all(&output.split())?;
                }
                match stream.read(&mut input)? {
                    0 => http.receive_eof(),
                    count => http.receive_data(input.get(..count).unwrap_or_default()),
                }
            }
            Ok(Event::Request(head)) => {
                request = format!("{} {}", head.method(), head.target().escape_ascii());
                body_bytes = 0;
            }
            Ok(Event::Data(data)) => body_bytes += data.len(),
            Ok(Event::EndOfMessage(_)) => {
                respond(&mut http, &format!("{request}, {body_bytes} bytes\n"), &mut output)?;
                stream.write_all(&output.split())?;
                if !http.can_reuse() {
                    return Ok(());
                }
                http.start_next_cycle()?;
            }
            Ok(Event::Closed | Event::Paused) => return Ok(()),
            Err(error) => return Ok(stream.write_all(&error.response())?),
        }
    }
}

/// Appends a whole response. The body is framed by the connection, which alone knows how: by
/// length, in chunks, or not sent at all because the request was a `HEAD`.
fn respond(http: &mut Connection, text: &str, output: &mut BytesMut) -> Result<(), SendError> {
    let length = text.len() as u64;
    let head = ResponseHead::new(200, &[(b"Content-Type", b"text/plain")]);
    let head = ResponseHead { length: Some(length), ..head };
    http.send_response(&head, SystemTime::now(), output)?;
    let chunk = http.send_data(length)?;
    if chunk.writes_body() {
        for part in [chunk.prefix(), text.as_bytes(), chunk.suffix()] {
            output.extend_from_slice(part);
        }
    }
    http.send_end(Headers::empty(), output)
}
