//! A connection that goes to another process: when it can, and what goes with it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::UNIX_EPOCH;

use bytes::BytesMut;
use rgunicorn_http1::{
    Config, Connection, Event, Headers, Parts, Peer, RequestHead, ResponseHead, SendError,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const EXPECTANT: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const SIZED: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";

fn connection(input: &str) -> Connection {
    let mut http = Connection::new(Config::new().into(), Peer::Local);
    http.receive_data(input.as_bytes());
    http
}

fn arrived(parts: Parts) -> Connection {
    Connection::from_parts(Config::new().into(), Peer::Local, parts)
}

fn request(http: &mut Connection) -> RequestHead {
    match http.next_event().unwrap() {
        Event::Request(head) => head,
        other => panic!("{other:?}"),
    }
}

/// Answers the request that was read.
fn answer(http: &mut Connection) {
    let mut output = BytesMut::new();
    http.send_response(&ResponseHead::new(204, &[]), UNIX_EPOCH, &mut output).unwrap();
    http.send_end(Headers::empty(), &mut output).unwrap();
}

#[test]
fn a_pipelined_rest_goes_along() {
    let mut http = connection(&format!("{GET}{GET}GET /half"));
    request(&mut http);
    assert!(matches!(http.next_event(), Ok(Event::EndOfMessage(_))));
    answer(&mut http);
    assert_eq!(http.to_parts(), None);
    http.start_next_cycle().unwrap();
    let parts = http.to_parts().unwrap();
    assert_eq!(parts.input, format!("{GET}GET /half"));
    request(&mut arrived(parts));
}

#[test]
fn a_request_is_read_again() {
    for (head, rest, events, body) in [
        (GET, "", 0, ""),
        (GET, "", 1, ""),
        (GET, "GET /next", 1, ""),
        (SIZED, "", 1, ""),
        (SIZED, "ab", 0, ""),
        (SIZED, "ab", 1, "ab"),
        (SIZED, "abc", 1, "abc"),
        (SIZED, "abc", 2, "abc"),
        (SIZED, "abcGET /next", 2, "abc"),
        (CHUNKED, "", 1, ""),
        (CHUNKED, "3;", 1, ""),
        (EXPECTANT, "", 1, ""),
        (EXPECTANT, "abc", 2, "abc"),
    ] {
        let mut http = connection(&format!("{head}{rest}"));
        let request_head = request(&mut http);
        for _ in 0..events {
            http.next_event().unwrap();
        }
        http.unread(&request_head, body.as_bytes()).unwrap();
        let again = http.unread(&request_head, body.as_bytes());
        assert_eq!(again, Err(SendError::WrongState));
        let parts = http.to_parts().unwrap();
        assert_eq!(parts.input, format!("{head}{rest}"));
        assert_eq!(request(&mut arrived(parts)).headers().len(), request_head.headers().len());
    }
}

#[test]
fn what_is_not_all_that_was_read_cannot_be_put_back() {
    for (head, body) in [
        (SIZED, "a"),
        (SIZED, "abc"),
        (CHUNKED, "3\r\n"),
        (CHUNKED, "3\r\na"),
        (CHUNKED, "3\r\nabc\r\n"),
        (CHUNKED, "0\r\n"),
        (CHUNKED, "0\r\n\r\n"),
        (CHUNKED, "x\r\n"),
    ] {
        let mut http = connection(&format!("{head}{body}"));
        let head = request(&mut http);
        while let Ok(Event::Data(_) | Event::EndOfMessage(_)) = http.next_event() {}
        for other in ["", "ab", "abcd"] {
            let unread = http.unread(&head, other.as_bytes());
            assert_eq!(unread, Err(SendError::WrongState), "{body} {other}");
        }
        assert_eq!(http.to_parts(), None);
        answer(&mut http);
    }
}

#[test]
fn a_body_that_the_caller_reads_itself_stays() {
    let mut http = connection(SIZED);
    let head = request(&mut http);
    assert_eq!(http.body_remaining(), 3);
    http.receive_body(0);
    http.unread(&head, b"").unwrap();
    let head = request(&mut http);
    http.receive_body(1);
    assert_eq!(http.unread(&head, b""), Err(SendError::WrongState));
    assert_eq!(http.to_parts(), None);
}

#[test]
fn a_response_that_was_begun_stays() {
    let mut http = connection(GET);
    let head = request(&mut http);
    let mut output = BytesMut::new();
    http.send_response(&ResponseHead::new(204, &[]), UNIX_EPOCH, &mut output).unwrap();
    assert_eq!(http.unread(&head, b""), Err(SendError::WrongState));
    assert_eq!(http.to_parts(), None);
    assert!(matches!(http.next_event(), Ok(Event::EndOfMessage(_))));
    http.send_end(Headers::empty(), &mut output).unwrap();
    assert_eq!(http.unread(&head, b""), Err(SendError::WrongState));
    http.start_next_cycle().unwrap();
    assert!(http.to_parts().is_some());
}

#[test]
fn continue_is_sent_once_wherever_the_connection_goes() {
    let mut http = connection(EXPECTANT);
    let head = request(&mut http);
    assert!(http.wants_continue());
    http.unread(&head, b"").unwrap();
    let mut http = arrived(http.to_parts().unwrap());
    let head = request(&mut http);
    assert!(http.wants_continue(), "it has not been sent yet");
    let mut output = BytesMut::new();
    http.send_informational(&ResponseHead::new(100, &[]), &mut output).unwrap();
    http.unread(&head, b"").unwrap();
    for _ in 0..2 {
        let parts = http.to_parts().unwrap();
        assert!(parts.continue_sent);
        http = arrived(parts);
        let head = request(&mut http);
        assert!(!http.wants_continue());
        http.unread(&head, b"").unwrap();
    }
    request(&mut http);
    http.receive_data(b"abc");
    while !matches!(http.next_event().unwrap(), Event::EndOfMessage(_)) {}
    answer(&mut http);
    http.start_next_cycle().unwrap();
    http.receive_data(EXPECTANT.as_bytes());
    request(&mut http);
    assert!(http.wants_continue(), "the next request is another one");
}

#[test]
fn what_was_decided_goes_along() {
    let mut http = connection(GET);
    http.close_after_response();
    http.receive_eof();
    let parts = http.to_parts().unwrap();
    assert!(parts.closing && parts.eof && !parts.continue_sent);
    let mut http = arrived(parts);
    assert!(!http.wants_data());
    request(&mut http);
    assert!(matches!(http.next_event(), Ok(Event::EndOfMessage(_))));
    answer(&mut http);
    assert!(!http.can_reuse());
}

#[test]
fn an_end_or_a_failure_cannot_move() {
    let mut http = connection("");
    http.receive_eof();
    assert!(matches!(http.next_event(), Ok(Event::Closed)));
    assert_eq!(http.to_parts(), None);
    let mut http = connection("nonsense\r\n");
    http.next_event().unwrap_err();
    assert_eq!(http.to_parts(), None);
}

#[test]
fn an_empty_line_is_skipped_once_on_all_of_the_way() {
    let mut http = connection("\r\n");
    assert!(matches!(http.next_event(), Ok(Event::NeedData)));
    let mut http = arrived(http.to_parts().unwrap());
    http.receive_data(format!("\r\n{GET}").as_bytes());
    http.next_event().unwrap_err();
}
