//! Exchanges between a peer and a server, through the public API.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::UNIX_EPOCH;

use bytes::BytesMut;
use rgunicorn_http1::{
    Config, Connection, Event, Framing, Headers, Peer, ProtocolError, RequestHead, ResponseHead,
    Scheme, SecureSchemeHeaders, SendError,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_10: &str = "GET / HTTP/1.0\r\n\r\n";
const GET_10_KEEP_ALIVE: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
const EXPECT: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
const EXPECT_CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
                              Expect: 100-continue\r\n\r\n";

/// A peer that has sent `input`.
fn connection(input: &str) -> Connection {
    let mut http = Connection::new(Config::new().into(), Peer::Local);
    http.receive_data(input.as_bytes());
    http
}

/// A connection that has given out its first request head.
fn requested(input: &str) -> Connection {
    let mut http = connection(input);
    request(&mut http);
    http
}

fn request(http: &mut Connection) -> RequestHead {
    match http.next_event() {
        Ok(Event::Request(head)) => head,
        other => panic!("{other:?}"),
    }
}

/// Reads the rest of the request and gives its body.
fn body(http: &mut Connection) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        match http.next_event() {
            Ok(Event::Data(data)) => body.extend_from_slice(&data),
            Ok(Event::EndOfMessage(_)) => return body,
            other => panic!("{other:?}"),
        }
    }
}

fn head(http: &mut Connection, head: ResponseHead<'_>) -> Result<(String, Framing), SendError> {
    let mut output = BytesMut::new();
    let framing = http.send_response(&head, UNIX_EPOCH, &mut output);
    assert!(framing.is_ok() || output.is_empty(), "an error writes nothing");
    Ok((String::from_utf8(output.to_vec()).unwrap(), framing?))
}

fn end(http: &mut Connection) -> Result<String, SendError> {
    let mut output = BytesMut::new();
    http.send_end(Headers::empty(), &mut output)?;
    Ok(String::from_utf8(output.to_vec()).unwrap())
}

/// Answers with these pieces of body and gives all that was written.
fn answer(http: &mut Connection, length: Option<u64>, pieces: &[&str]) -> String {
    let (mut wire, _) = head(http, ResponseHead { length, ..ResponseHead::new(200, &[]) }).unwrap();
    for piece in pieces {
        let chunk = http.send_data(piece.len() as u64).unwrap();
        wire += std::str::from_utf8(chunk.prefix()).unwrap();
        wire += if chunk.writes_body() { piece } else { "" };
        wire += std::str::from_utf8(chunk.suffix()).unwrap();
    }
    wire + &end(http).unwrap()
}

/// What follows the head.
fn after_head(wire: &str) -> &str {
    wire.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn pipelined_requests_are_answered_one_by_one() {
    let mut http = connection(&GET.repeat(2));
    request(&mut http);
    body(&mut http);
    assert!(matches!(http.next_event(), Ok(Event::Paused)));
    assert!(http.has_buffered_input() && !http.can_reuse());
    assert_eq!(http.start_next_cycle(), Err(SendError::WrongState));
    answer(&mut http, Some(0), &[]);
    assert!(http.can_reuse() && !http.is_idle());
    http.start_next_cycle().unwrap();
    assert!(!http.is_idle(), "the second request waits");
    request(&mut http);
    body(&mut http);
    answer(&mut http, Some(0), &[]);
    http.start_next_cycle().unwrap();
    assert!(http.is_idle() && !http.has_buffered_input());
}

#[test]
fn bodies_by_framing() {
    for (input, length, pieces, expected) in [
        (GET, None, &["hello", "", "0123456789"][..], "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        (GET, None, &[], "0\r\n\r\n"),
        (GET, Some(5), &["he", "llo"], "hello"),
        (GET, Some(0), &[""], ""),
        (GET_10, None, &["he", "llo"], "hello"),
        (HEAD, None, &["he", "llo"], ""),
        (HEAD, Some(5), &["he", "llo"], ""),
    ] {
        let mut http = requested(input);
        assert_eq!(after_head(&answer(&mut http, length, pieces)), expected, "{input:?}");
    }
}

#[test]
fn who_closes() {
    for (input, length, reused) in [
        (GET, None, true),
        (GET, Some(0), true),
        (HEAD, None, true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Some(0), false),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", Some(0), false),
        (GET_10, Some(0), false),
        (GET_10_KEEP_ALIVE, Some(0), true),
        (GET_10_KEEP_ALIVE, None, false),
    ] {
        let mut http = requested(input);
        body(&mut http);
        let wire = answer(&mut http, length, &[]);
        let connection = if reused { "keep-alive" } else { "close" };
        assert!(wire.contains(&format!("Connection: {connection}\r\n")), "{input:?} {wire:?}");
        assert_eq!(http.can_reuse(), reused, "{input:?}");
        assert_eq!(http.start_next_cycle().is_ok(), reused, "{input:?}");
        let version = input.split_once("\r\n").unwrap().0.rsplit_once(' ').unwrap().1;
        assert!(wire.starts_with(version), "{wire:?}");
    }
}

#[test]
fn the_server_may_close() {
    let mut http = requested(GET);
    body(&mut http);
    http.close_after_response();
    assert!(answer(&mut http, Some(0), &[]).contains("Connection: close\r\n"));
    assert!(!http.can_reuse());

    let mut http = requested(GET);
    body(&mut http);
    assert!(answer(&mut http, Some(0), &[]).contains("Connection: keep-alive\r\n"));
    http.close_after_response();
    assert!(!http.can_reuse(), "even after the head");
    assert_eq!(http.start_next_cycle(), Err(SendError::WrongState));
}

#[test]
fn the_application_may_close() {
    let mut http = requested(GET);
    body(&mut http);
    head(&mut http, ResponseHead::new(204, &[(b"Connection", b"close")])).unwrap();
    end(&mut http).unwrap();
    assert!(!http.can_reuse());
}

#[test]
fn an_answer_before_the_end_of_the_request() {
    let mut http = requested(POST);
    answer(&mut http, Some(0), &[]);
    assert!(!http.can_reuse());
    assert_eq!(http.start_next_cycle(), Err(SendError::WrongState));
    http.receive_data(b"abc");
    assert_eq!(body(&mut http), b"abc");
    assert!(http.can_reuse());
}

#[test]
fn continue_is_wanted_until_something_happens() {
    let mut output = BytesMut::new();
    let go_on = ResponseHead::new(100, &[]);

    let mut http = requested(EXPECT);
    assert!(http.wants_continue());
    http.send_informational(&ResponseHead::new(103, &[]), &mut output).unwrap();
    assert!(http.wants_continue(), "early hints are no answer");
    http.send_informational(&go_on, &mut output).unwrap();
    assert!(!http.wants_continue());
    assert!(output.ends_with(b"HTTP/1.1 100 Continue\r\n\r\n"));
    http.receive_data(b"abc");
    assert_eq!(body(&mut http), b"abc");
    answer(&mut http, Some(0), &[]);
    assert!(http.can_reuse());

    let mut http = requested(EXPECT_CHUNKED);
    assert!(http.wants_continue());
    http.receive_data(b"3\r\n");
    assert!(matches!(http.next_event(), Ok(Event::NeedData)));
    assert!(!http.wants_continue(), "the body has begun");

    let http = requested(&format!("{EXPECT}a"));
    assert!(!http.wants_continue(), "the body came with the head");
    assert!(!requested(GET).wants_continue());
}

#[test]
fn a_final_answer_instead_of_continue_closes() {
    let mut http = requested(EXPECT);
    let wire = answer(&mut http, Some(0), &[]);
    assert!(wire.contains("Connection: close\r\n"), "{wire}");
    assert!(!http.wants_continue() && !http.can_reuse());
}

#[test]
fn nothing_informational_for_http10() {
    let mut output = BytesMut::new();
    let mut http = requested(GET_10);
    http.send_informational(&ResponseHead::new(103, &[]), &mut output).unwrap();
    assert!(output.is_empty());
}

#[test]
fn lengths_are_kept() {
    let mut http = requested(GET);
    body(&mut http);
    let five = ResponseHead::new(200, &[(b"Content-Length", b"5")]);
    assert_eq!(head(&mut http, five).unwrap().1, Framing::Length(5));
    http.send_data(3).unwrap();
    assert_eq!(http.send_data(3).unwrap_err(), SendError::BodyTooLong { remaining: 2 });
    assert_eq!(end(&mut http), Err(SendError::BodyTooShort { missing: 2 }));
    assert_eq!(end(&mut http), Err(SendError::WrongState));
    assert!(!http.can_reuse());
}

#[test]
fn a_wrong_head_may_be_replaced() {
    let mut http = requested(GET);
    let wrong = ResponseHead::new(200, &[(b"X", b"a\r\nb")]);
    assert_eq!(head(&mut http, wrong), Err(SendError::FieldValue));
    assert!(head(&mut http, ResponseHead::new(500, &[])).is_ok());
}

#[test]
fn calls_out_of_order() {
    let mut http = connection(GET);
    let mut output = BytesMut::new();
    let ok = ResponseHead::new(200, &[]);
    assert_eq!(head(&mut http, ok), Err(SendError::WrongState));
    assert_eq!(http.send_data(1).unwrap_err(), SendError::WrongState);
    assert_eq!(end(&mut http), Err(SendError::WrongState));
    request(&mut http);
    assert_eq!(http.send_data(1).unwrap_err(), SendError::WrongState);
    assert_eq!(end(&mut http), Err(SendError::WrongState));
    head(&mut http, ok).unwrap();
    assert_eq!(head(&mut http, ok), Err(SendError::WrongState));
    let hints = ResponseHead::new(103, &[]);
    assert_eq!(http.send_informational(&hints, &mut output), Err(SendError::WrongState));
    end(&mut http).unwrap();
    assert_eq!(http.send_data(1).unwrap_err(), SendError::WrongState);
    assert_eq!(end(&mut http), Err(SendError::WrongState));
    assert!(output.is_empty());
}

#[test]
fn trailers_need_chunks() {
    let trailers = [(&b"X"[..], &b"y"[..])];
    let send = |input: &str, length| {
        let mut http = requested(input);
        let mut output = BytesMut::new();
        head(&mut http, ResponseHead { length, ..ResponseHead::new(200, &[]) }).unwrap();
        http.send_end(Headers::new(&trailers), &mut output)
            .map(|()| String::from_utf8(output.to_vec()).unwrap())
    };
    assert_eq!(send(GET, None).unwrap(), "0\r\nX: y\r\n\r\n");
    assert_eq!(send(GET, Some(0)), Err(SendError::Trailers));
    assert_eq!(send(GET_10, None), Err(SendError::Trailers));
    assert_eq!(send(HEAD, None).unwrap(), "", "dropped with the body");
}

#[test]
fn a_body_of_known_length_may_be_read_by_the_caller() {
    let mut http = connection(POST);
    assert_eq!(http.body_remaining(), 0, "its head was not given out");
    request(&mut http);
    assert_eq!(http.body_remaining(), 3);
    http.receive_data(b"a");
    assert_eq!(http.body_remaining(), 0, "a part of it waits here");
    assert!(matches!(http.next_event(), Ok(Event::Data(_))));
    http.receive_body(1);
    assert!(matches!(http.next_event(), Ok(Event::NeedData)));
    http.receive_body(1);
    assert_eq!(http.body_remaining(), 0);
    assert!(matches!(http.next_event(), Ok(Event::EndOfMessage(_))));
    assert_eq!(http.body_remaining(), 0);

    let mut cut_short = requested(POST);
    cut_short.receive_body(2);
    cut_short.receive_eof();
    assert!(matches!(cut_short.next_event(), Err(ProtocolError::UnexpectedEof)));
    assert_eq!(cut_short.body_remaining(), 0);

    let mut impatient = requested(EXPECT);
    impatient.receive_body(0);
    assert!(impatient.wants_continue());
    impatient.receive_body(1);
    assert!(!impatient.wants_continue());
    assert_eq!(requested(EXPECT_CHUNKED).body_remaining(), 0, "nobody knows");
    assert_eq!(requested(GET).body_remaining(), 0);
}

#[test]
#[should_panic(expected = "4 bytes read of a body that has 3 left")]
fn nobody_reads_beyond_a_body() {
    requested(POST).receive_body(4);
}

#[test]
fn a_broken_body_can_be_answered() {
    let mut http =
        requested("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!(http.next_event().err(), Some(ProtocolError::ChunkSize));
    let wire = answer(&mut http, Some(2), &["no"]);
    assert!(wire.contains("Connection: close\r\n") && wire.ends_with("no"), "{wire}");
    assert_eq!(http.next_event().err(), Some(ProtocolError::ChunkSize));
    assert!(!http.can_reuse());
}

#[test]
fn the_end_of_input() {
    let mut http = connection("");
    http.receive_eof();
    assert!(matches!(http.next_event(), Ok(Event::Closed)));
    assert!(matches!(http.next_event(), Ok(Event::Closed)));

    let mut http = connection("GET / HT");
    http.receive_eof();
    assert!(matches!(http.next_event(), Ok(Event::Closed)));

    let mut http = requested(&format!("{POST}ab"));
    http.receive_eof();
    assert!(matches!(http.next_event(), Ok(Event::Data(_))));
    assert_eq!(http.next_event().err(), Some(ProtocolError::UnexpectedEof));

    // A peer may close its side and still wait for the answers.
    let mut http = connection(&GET.repeat(2));
    http.receive_eof();
    for _ in 0..2 {
        request(&mut http);
        body(&mut http);
        answer(&mut http, Some(0), &[]);
        http.start_next_cycle().unwrap();
    }
    assert!(matches!(http.next_event(), Ok(Event::Closed)));
    assert!(!http.wants_data());
}

#[test]
fn reading_stops_when_nobody_looks() {
    let mut http = connection("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    request(&mut http);
    assert!(http.wants_data());
    http.receive_data(&vec![b'a'; 64 * 1024]);
    assert!(!http.wants_data());
    assert!(matches!(http.next_event(), Ok(Event::Data(data)) if data.len() == 64 * 1024));
    assert!(http.wants_data());

    let mut http = requested(GET);
    body(&mut http);
    http.receive_data(&GET.as_bytes().repeat(4096));
    assert!(!http.wants_data(), "pipelined requests wait");
}

#[test]
fn a_head_within_the_limits_is_always_wanted() {
    let config = Config::new().limit_request_field_size(0);
    let mut http = Connection::new(config.into(), Peer::Local);
    http.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
    for _ in 0..8 {
        assert!(http.wants_data());
        http.receive_data(&vec![b'a'; 64 * 1024]);
        assert!(matches!(http.next_event(), Ok(Event::NeedData)));
    }
    http.receive_data(b"\r\n\r\n");
    assert_eq!(request(&mut http).header("x").unwrap().len(), 8 * 64 * 1024);
}

#[test]
fn limits_are_the_operators() {
    let config = Config::new().limit_request_line(20).limit_request_fields(2);
    let error = |input: &str| {
        let mut http = Connection::new(config.clone().into(), Peer::Local);
        http.receive_data(input.as_bytes());
        http.next_event().err().map(|error| error.status())
    };
    assert_eq!(error("GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"), None);
    assert_eq!(error("GET /0123456 HTTP/1.1\r\n"), Some(414));
    assert_eq!(error("GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\nX: y\r\n"), Some(431));
}

#[test]
fn only_trusted_peers_tell_the_scheme() {
    let config = Config::new()
        .forwarded_allow_ips("10.0.0.0/8".parse().unwrap())
        .secure_scheme_headers(SecureSchemeHeaders::from_iter([("X-Tls", "yes")]));
    let (proxy, stranger) = (Peer::Ip([10, 1, 2, 3].into()), Peer::Ip([127, 0, 0, 1].into()));
    let ask = |peer, input: &str| {
        let mut http = Connection::new(config.clone().into(), peer);
        http.receive_data(input.as_bytes());
        match http.next_event() {
            Ok(Event::Request(head)) => {
                assert_eq!(head.peer_is_trusted(), peer != stranger);
                Ok(head.scheme())
            }
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        }
    };
    let secure = "GET / HTTP/1.1\r\nHost: a\r\nx-tls: yes\r\n\r\n";
    let unclear = "GET / HTTP/1.1\r\nHost: a\r\nX-Tls: yes\r\nX-Tls: no\r\n\r\n";
    assert_eq!(ask(proxy, secure), Ok(Scheme::Https));
    assert_eq!(ask(Peer::Local, secure), Ok(Scheme::Https));
    assert_eq!(ask(stranger, secure), Ok(Scheme::Http));
    assert_eq!(ask(proxy, GET), Ok(Scheme::Http));
    assert_eq!(ask(proxy, unclear), Err(ProtocolError::Scheme));
    assert_eq!(ask(stranger, unclear), Ok(Scheme::Http));
}
