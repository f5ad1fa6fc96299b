//! A handler that reads bodies while clients send them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rgunicorn_http1::{RequestHead, ResponseHead};
use rgunicorn_workers::{Client, ConnectionError, Handler, Options, Outcome, Server};

use crate::harness::{self, TestServer, body, read_exactly, read_to_end, read_until, starts_with};

/// More than is gathered before the handler is called.
const LARGE: usize = 3 << 20;

/// More than sockets hold: who sends or takes so much has been waited for.
const HUGE: usize = 64 << 20;

struct Reader;

impl Reader {
    /// As `read_body`, but waits.
    fn read(client: &mut Client, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match client.read_body(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => client.wait()?,
                read => return read,
            }
        }
    }

    /// Returns each piece as it comes.
    fn echo(client: &mut Client) -> io::Result<()> {
        client.send_head(&ResponseHead::new(200, &[]))?;
        let mut buffer = vec![0; 100_000];
        while let count @ 1.. = Self::read(client, &mut buffer)? {
            let mut piece = &buffer[..count];
            while !piece.is_empty() {
                let taken = client.send_data(piece)?;
                piece = &piece[taken..];
            }
        }
        Ok(())
    }

    /// Answers with the number of bytes, or the kind of error.
    fn count(client: &mut Client) -> io::Result<()> {
        let mut buffer = vec![0; 100_000];
        let mut total = 0;
        let text = loop {
            match Self::read(client, &mut buffer) {
                Ok(0) => break format!("{total} bytes"),
                Ok(count) => total += count,
                Err(error) => break format!("{:?} after {total}", error.kind()),
            }
        };
        let mut head = ResponseHead::new(200, &[]);
        head.length = Some(text.len() as u64);
        client.send_head(&head)?;
        Ok(client.send_rest(text.into())?)
    }
}

impl Handler for Reader {
    fn handle(
        &self,
        request: &RequestHead,
        mut client: Client,
    ) -> Result<Outcome, ConnectionError> {
        match request.target() {
            b"/count" => Self::count(&mut client)?,
            b"/echo" => Self::echo(&mut client)?,
            b"/first" => {
                assert!(!client.is_body_here());
                let count = Self::read(&mut client, &mut [0; 100])?;
                assert!(count > 0);
                client.send_head(&ResponseHead::new(200, &[(b"Content-Length", b"3")]))?;
                client.send_data(b"hi\n")?;
            }
            _ => client.send_error(404, ""),
        }
        Ok(Outcome::Done(client))
    }
}

/// No test of its own: the server of the others.
#[test]
fn process() {
    let Some(wish) = harness::wish() else { return };
    let mut options = Options::default();
    options.request_buffering = false;
    options.limit_request_body = Some(2 * HUGE as u64);
    options.body_timeout = Duration::from_secs(20);
    if wish == "little patience" {
        options.body_timeout = Duration::from_millis(300);
    }
    harness::serve(rgunicorn_arbiter::Options::new(1), Server::new(Reader, options));
}

fn start(wish: &str) -> TestServer {
    TestServer::spawn("incoming::process", wish)
}

fn announce(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

fn chunked(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// What `/count` says on a connection that stays.
fn counted(stream: &mut TcpStream) -> String {
    let head = String::from_utf8(read_until(stream, b"\r\n\r\n")).unwrap();
    assert!(starts_with(head.as_bytes(), "200"), "{head}");
    let (_, length) = head.split_once("Content-Length: ").unwrap();
    let length = length.lines().next().unwrap().parse().unwrap();
    String::from_utf8(read_exactly(stream, length)).unwrap()
}

#[test]
fn a_dialogue_in_one_request() {
    let server = start("");
    let mut stream = server.send(chunked("/echo").as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    for word in ["who", "is", "there"] {
        let chunk = format!("{:x}\r\n{word}\r\n", word.len());
        stream.write_all(chunk.as_bytes()).unwrap();
        assert_eq!(read_exactly(&mut stream, chunk.len()), chunk.as_bytes());
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_exactly(&mut stream, 5), b"0\r\n\r\n");
    // The connection goes on.
    stream.write_all((chunked("/count") + "2\r\nab\r\n0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(counted(&mut stream), "2 bytes");
}

#[test]
fn a_client_that_reads_only_when_all_is_sent() {
    let server = start("");
    let mut stream = server.send(announce("/echo", LARGE).as_bytes());
    let sent: Vec<u8> = (b'a'..=b'w').cycle().take(LARGE).collect();
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let response = read_to_end(&mut stream);
    assert!(starts_with(&response, "200"));
    assert!(body(&response).len() > LARGE, "in chunks");
}

#[test]
fn a_client_that_sends_on_when_it_has_its_answer_so_far() {
    let server = start("");
    let mut stream = server.send(announce("/echo", 2 * HUGE).as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    for _ in 0..2 {
        // What the sockets do not hold of the echo has to leave while the handler waits for more.
        let mut sender = stream.try_clone().unwrap();
        sender.write_all(&vec![b'q'; HUGE]).unwrap();
        let (mut count, mut buffer) = (0, vec![0; 1 << 20]);
        while count < HUGE {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0);
            count += buffer[..read].iter().map(|byte| usize::from(*byte == b'q')).sum::<usize>();
        }
    }
}

#[test]
fn bytes_behind_a_body_are_the_next_request() {
    let server = start("");
    let mut stream = server.connect();
    for length in [1, LARGE, LARGE + 1] {
        let mut requests = announce("/count", length).into_bytes();
        requests.resize(requests.len() + length, b'a');
        requests.extend(chunked("/count").as_bytes());
        requests.extend(b"3\r\nabc\r\n0\r\n\r\n");
        let mut sender = stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || sender.write_all(&requests).unwrap());
        assert_eq!(counted(&mut stream), format!("{length} bytes"));
        assert_eq!(counted(&mut stream), "3 bytes");
        sending.join().unwrap();
    }
}

#[test]
fn a_body_is_asked_for_when_the_handler_reads() {
    let server = start("");
    let expect = "Expect: 100-continue\r\n\r\n";
    let request = announce("/nowhere", LARGE).replacen("\r\n\r\n", "\r\n", 1) + expect;
    let response = server.ask(request.as_bytes());
    assert!(starts_with(&response, "404"), "{}", response.escape_ascii());
    let request = announce("/count", LARGE).replacen("\r\n\r\n", "\r\n", 1) + expect;
    let mut stream = server.send(request.as_bytes());
    assert_eq!(read_until(&mut stream, b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&vec![b'a'; LARGE]).unwrap();
    assert_eq!(counted(&mut stream), format!("{LARGE} bytes"));
}

#[test]
fn a_body_that_nobody_reads_to_its_end() {
    let server = start("");
    // What is there already is skipped …
    let mut stream = server.send((chunked("/first") + "3\r\nabc\r\n0\r\n\r\n").as_bytes());
    read_until(&mut stream, b"hi\n");
    stream.write_all((chunked("/count") + "0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(counted(&mut stream), "0 bytes");
    // … and what is not ends the connection, though not before the answer has arrived.
    let response = server.ask((announce("/first", LARGE) + "abc").as_bytes());
    assert!(starts_with(&response, "200") && body(&response) == b"hi\n");
}

#[test]
fn what_a_client_does_wrong_is_told() {
    let server = start("");
    let large = announce("/count", LARGE);
    let mut gone = server.send((large + "abc").as_bytes());
    gone.shutdown(Shutdown::Write).unwrap();
    assert_eq!(counted(&mut gone), "ConnectionReset after 3");
    assert!(read_to_end(&mut gone).is_empty());
    let malformed = chunked("/count") + "3\r\nabc\r\nx\r\n";
    let mut malformed = server.send(malformed.as_bytes());
    assert_eq!(counted(&mut malformed), "InvalidData after 3");
    assert!(read_to_end(&mut malformed).is_empty());
    // A handler without an answer of its own: the error of the first read is all that it tells.
    let unheard = server.ask((chunked("/echo") + "x\r\n").as_bytes());
    assert!(unheard.is_empty() || starts_with(&unheard, "200"), "{}", unheard.escape_ascii());
    let too_large = announce("/count", 2 * HUGE + 1);
    assert!(starts_with(&server.ask(too_large.as_bytes()), "413"));
}

#[test]
fn a_silent_client_is_given_up() {
    let server = start("little patience");
    let mut stream = server.send((announce("/count", LARGE) + "abc").as_bytes());
    assert_eq!(counted(&mut stream), "TimedOut after 3");
    let mut next = server.send((chunked("/count") + "1\r\na\r\n0\r\n\r\n").as_bytes());
    assert_eq!(counted(&mut next), "1 bytes");
}
