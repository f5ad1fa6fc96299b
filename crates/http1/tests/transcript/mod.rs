//! What a connection says about its input, as text: the same for every way to cut the input.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::UNIX_EPOCH;

use bytes::BytesMut;
use rgunicorn_http1::{
    Config, Connection, Event, Headers, Peer, ProtocolError, RequestHead, ResponseHead, Scheme,
    Trailers,
};

/// Feeds the pieces one after the other, answers every request at once, and tells what came out.
pub(crate) fn transcript<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    Transcript::new(Caller::Plain).of(pieces)
}

/// The same, with a connection that is taken apart and put together wherever that is possible: after
/// each piece, and at each head.
pub(crate) fn transcript_moving<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    Transcript::new(Caller::Moving).of(pieces)
}

/// The same by a caller that reads bodies from the peer itself as soon as it may.
#[allow(dead_code, reason = "each test binary uses a part of this")]
pub(crate) fn transcript_of_direct_bodies<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> String {
    Transcript::new(Caller::Direct).of(pieces)
}

/// How the connection is driven.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Direct,
    Moving,
    Plain,
}

struct Transcript {
    http: Connection,
    text: String,
    body: Vec<u8>,
    output: BytesMut,
    caller: Caller,
    /// A head was read, and not the end of its message.
    under_way: bool,
}

/// Trusted by default.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

type Flow = std::ops::ControlFlow<()>;

impl Transcript {
    fn new(caller: Caller) -> Self {
        Self {
            http: Connection::new(Config::new().into(), Peer::Ip(LOOPBACK)),
            text: String::new(),
            body: Vec::new(),
            output: BytesMut::new(),
            caller,
            under_way: false,
        }
    }

    fn of<'a>(mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        for piece in pieces {
            let rest = self.read_directly(piece);
            self.http.receive_data(rest);
            self.go_elsewhere();
            if self.drain().is_break() {
                return self.text;
            }
            self.go_elsewhere();
        }
        self.http.receive_eof();
        self.go_elsewhere();
        assert!(self.drain().is_break(), "an end of input ends everything");
        self.text
    }

    /// Reads what is a body's past the connection, and returns the rest.
    fn read_directly<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        if self.caller != Caller::Direct {
            return piece;
        }
        let remaining = usize::try_from(self.http.body_remaining()).unwrap_or(usize::MAX);
        let (direct, rest) = piece.split_at(remaining.min(piece.len()));
        self.http.receive_body(direct.len() as u64);
        self.body.extend_from_slice(direct);
        rest
    }

    fn go_elsewhere(&mut self) {
        if self.caller != Caller::Moving {
            return;
        }
        let parts = self.http.to_parts();
        assert_eq!(parts.is_none(), self.under_way, "{parts:?}");
        if let Some(parts) = parts {
            self.http = Connection::from_parts(Config::new().into(), Peer::Ip(LOOPBACK), parts);
        }
    }

    /// Puts a request back, and reads it again elsewhere.
    fn read_again(&mut self, head: RequestHead) -> RequestHead {
        if self.caller != Caller::Moving {
            return head;
        }
        self.http.unread(&head, b"").unwrap();
        self.under_way = false;
        self.go_elsewhere();
        match self.http.next_event() {
            Ok(Event::Request(again)) => again,
            other => panic!("{other:?} instead of {head:?}"),
        }
    }

    /// Takes all events; breaks when the connection is over.
    fn drain(&mut self) -> Flow {
        loop {
            match self.http.next_event() {
                Ok(Event::Closed) => {
                    let unread = if self.http.has_buffered_input() { " within a head" } else { "" };
                    return self.last(&format!("closed{unread}"));
                }
                Ok(Event::Data(data)) => self.body.extend_from_slice(&data),
                Ok(Event::EndOfMessage(trailers)) => self.end_of_message(&trailers)?,
                Ok(Event::NeedData) => return Flow::Continue(()),
                Ok(Event::Paused) => panic!("paused after start_next_cycle"),
                Ok(Event::Request(head)) => {
                    let head = self.read_again(head);
                    self.request(&head);
                }
                Err(error) => return self.error(error),
            }
        }
    }

    fn request(&mut self, head: &RequestHead) {
        self.under_way = true;
        let target = head.target().escape_ascii();
        writeln!(self.text, "{} {target} {}", head.method(), head.version()).unwrap();
        self.fields(head.headers());
        let keep_alive = if head.keep_alive() { "keep-alive" } else { "close" };
        // Not wants_continue(): whether the body came together with the head depends on the cut.
        let expects = if head.header("expect").is_some() { ", expectant" } else { "" };
        let scheme = if head.scheme() == Scheme::Https { ", https" } else { "" };
        writeln!(self.text, "  body {:?}, {keep_alive}{expects}{scheme}", head.body()).unwrap();
    }

    fn fields<'a>(&mut self, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        for (name, value) in fields {
            writeln!(self.text, "  {}: {}", name.escape_ascii(), value.escape_ascii()).unwrap();
        }
    }

    fn data(&mut self) {
        if !self.body.is_empty() {
            writeln!(self.text, "  data {}", self.body.escape_ascii()).unwrap();
            self.body.clear();
        }
    }

    fn end_of_message(&mut self, trailers: &Trailers) -> Flow {
        self.data();
        if !trailers.is_empty() {
            writeln!(self.text, "  trailers").unwrap();
            self.fields(trailers.iter());
        }
        let head = ResponseHead { length: Some(0), ..ResponseHead::new(200, &[]) };
        self.http.send_response(&head, UNIX_EPOCH, &mut self.output).unwrap();
        self.http.send_end(Headers::empty(), &mut self.output).unwrap();
        if !self.http.can_reuse() {
            return self.last("end, not to be reused");
        }
        self.http.start_next_cycle().unwrap();
        self.under_way = false;
        writeln!(self.text, "end").unwrap();
        Flow::Continue(())
    }

    fn error(&mut self, error: ProtocolError) -> Flow {
        self.data();
        assert_eq!(self.http.next_event().err(), Some(error), "errors repeat");
        assert!(!self.http.wants_data());
        self.last(&format!("error {} {error}", error.status()))
    }

    fn last(&mut self, line: &str) -> Flow {
        writeln!(self.text, "{line}").unwrap();
        Flow::Break(())
    }
}
