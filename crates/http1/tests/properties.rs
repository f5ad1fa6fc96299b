//! What holds for every input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod transcript;

use std::time::UNIX_EPOCH;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use rgunicorn_http1::{Config, Connection, Event, Headers, Peer, ResponseHead};
use transcript::{transcript, transcript_moving, transcript_of_direct_bodies};

/// Bytes that look like a message often enough to get past the first line.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop_oneof![
        4 => prop::sample::select(&PARTS[..]).prop_map(|part| part.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    let begun = vec(parts, 0..24).prop_map(|parts| parts.concat());
    prop_oneof![
        begun.clone(),
        begun.prop_map(|rest| [&b"POST / HTTP/1.1\r\nHost: a\r\n"[..], &rest].concat()),
        vec(any::<u8>(), 0..64),
    ]
}

const PARTS: [&str; 32] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "POST /b?c HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "Host: a\r\n",
    "Content-Length: 3\r\n\r\nabc",
    "Content-Length: 3\r\n",
    "Content-Length: +3\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Expect: 100-continue\r\n",
    "X: \t y \r\n",
    " folded\r\n",
    "3\r\nabc\r\n",
    "1;a=b\r\nx\r\n",
    "0\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "ffffffffffffffff\r\n",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    ":",
    ";",
    " ",
    "\0",
    "\u{e9}",
    "HTTP/2.0\r\n",
    "abc",
];

/// Cuts `input` into pieces whose lengths are taken from `lengths`, over and over.
fn cut<'a>(mut input: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &length in lengths.iter().cycle() {
        if input.is_empty() {
            break;
        }
        let (piece, rest) = input.split_at(length.min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// And nothing panics on the way.
    #[test]
    fn cuts_change_nothing(input in messages(), lengths in vec(1_usize..20, 1..8)) {
        prop_assert_eq!(transcript(cut(&input, &lengths)), transcript([&input[..]]));
    }

    #[test]
    fn moves_change_nothing(input in messages(), lengths in vec(1_usize..20, 1..8)) {
        prop_assert_eq!(transcript_moving(cut(&input, &lengths)), transcript([&input[..]]));
    }

    #[test]
    fn a_body_may_be_read_past_the_connection(
        input in messages(),
        lengths in vec(1_usize..20, 1..8),
    ) {
        let whole = transcript([&input[..]]);
        prop_assert_eq!(transcript_of_direct_bodies(cut(&input, &lengths)), whole);
    }

    #[test]
    fn a_chunked_response_is_read_back_as_a_chunked_request(
        pieces in vec(vec(any::<u8>(), 0..300), 0..8),
        trailer in "[a-z]{0,8}",
        lengths in vec(1_usize..50, 1..8),
    ) {
        let mut output = BytesMut::new();
        let mut http = Connection::new(Config::new().into(), Peer::Local);
        http.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        http.next_event().unwrap();
        http.send_response(&ResponseHead::new(200, &[]), UNIX_EPOCH, &mut output).unwrap();
        output.clear();
        for piece in &pieces {
            let chunk = http.send_data(piece.len() as u64).unwrap();
            for part in [chunk.prefix(), piece, chunk.suffix()] {
                output.extend_from_slice(part);
            }
        }
        let trailers = [(&b"X"[..], trailer.as_bytes())];
        http.send_end(Headers::new(&trailers), &mut output).unwrap();

        let mut reader = Connection::new(Config::new().into(), Peer::Local);
        reader.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        reader.next_event().unwrap();
        let mut body = Vec::new();
        let mut end = None;
        for piece in cut(&output, &lengths) {
            reader.receive_data(piece);
            loop {
                match reader.next_event().unwrap() {
                    Event::Data(data) => body.extend_from_slice(&data),
                    Event::EndOfMessage(trailers) => end = Some(trailers),
                    _ => break,
                }
            }
        }
        prop_assert_eq!(body, pieces.concat());
        let trailers = end.unwrap();
        prop_assert_eq!(trailers.get("x"), Some(trailer.as_bytes()));
        prop_assert!(!reader.has_buffered_input());
    }

    /// Whatever is accepted in a response can be read by the same rules.
    #[test]
    fn a_head_cannot_be_broken_by_its_fields(
        name in vec(any::<u8>(), 0..6),
        value in vec(any::<u8>(), 0..6),
    ) {
        let mut output = BytesMut::new();
        let mut http = Connection::new(Config::new().into(), Peer::Local);
        http.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        http.next_event().unwrap();
        let headers = [(&name[..], &value[..])];
        let sent = http.send_response(&ResponseHead::new(200, &headers), UNIX_EPOCH, &mut output);
        if sent.is_err() {
            prop_assert!(output.is_empty());
        } else {
            // Status line, Date, Connection, Transfer-Encoding, the field, the empty line, nothing.
            prop_assert_eq!(output[..].split(|&byte| byte == b'\n').count(), 7);
        }
    }
}
