//! The access log, in gunicorn's default format.
//!
//! ```text
//! %(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"
//! ```
//!
//! The bytes are gunicorn's, with one exception: what a client sent cannot leave its field.
//! gunicorn escapes the quotation mark only, and a line break in a user name forges a line there.

use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rgunicorn_http1::RequestHead;
use rgunicorn_workers::{Record, RequestLog};

use crate::basic_auth;
use crate::log_file::{LogFile, LogFileError, Standard};
use crate::settings::Settings;

/// The access log of this process and of those that it forks. Clones share one file.
#[derive(Clone, Debug)]
pub struct AccessLog {
    file: Arc<LogFile>,
}

impl AccessLog {
    /// Opens the access log, if there is to be one.
    ///
    /// # Errors
    ///
    /// The file cannot be opened for writing.
    pub fn open(settings: &Settings) -> Result<Option<Self>, LogFileError> {
        let Some(target) = &settings.accesslog else {
            return Ok(None);
        };
        let file = Arc::new(LogFile::open(target, Standard::Output, settings.into())?);
        Ok(Some(Self { file }))
    }

    /// Opens the file again, after logrotate has moved it away (SIGUSR1).
    ///
    /// # Errors
    ///
    /// The file cannot be opened; the old one goes on.
    pub fn reopen(&self) -> Result<(), LogFileError> {
        self.file.reopen()
    }
}

impl RequestLog for AccessLog {
    fn request_done(&self, record: &Record<'_>) {
        // Per thread: no lock to wait for, and none to inherit by a fork.
        thread_local! {
            static LINE: RefCell<Line> = RefCell::default();
        }
        let entry = Entry {
            head: record.request,
            peer: record.peer,
            status: record.status,
            sent_bytes: record.sent_bytes,
        };
        LINE.with_borrow_mut(|line| {
            line.format(&entry, Timestamp::now());
            self.file.write_line(&line.buffer);
        });
    }
}

/// What the format shows of a request.
struct Entry<'a> {
    head: &'a RequestHead,
    peer: Option<SocketAddr>,
    status: u16,
    sent_bytes: u64,
}

/// A line, and what is worth keeping for the next one.
#[derive(Default)]
struct Line {
    buffer: Vec<u8>,
    clock: Clock,
}

impl Line {
    fn format(&mut self, entry: &Entry<'_>, now: Timestamp) {
        let Self { buffer, clock } = self;
        let head = entry.head;
        buffer.clear();
        // A client on a Unix socket has no address, and gunicorn then writes nothing at all.
        if let Some(peer) = entry.peer {
            append(buffer, peer.ip());
        }
        buffer.extend_from_slice(b" - ");
        match head.header("authorization").and_then(basic_auth::user) {
            Some(user) => escape(buffer, &user),
            None => buffer.push(b'-'),
        }
        buffer.push(b' ');
        buffer.extend_from_slice(clock.read(now).as_bytes());
        buffer.extend_from_slice(b" \"");
        escape(buffer, head.method().as_bytes());
        buffer.push(b' ');
        escape(buffer, head.target());
        buffer.push(b' ');
        buffer.extend_from_slice(head.version().as_str().as_bytes());
        append(buffer, format_args!("\" {} {} \"", entry.status, entry.sent_bytes));
        field(buffer, head, "referer");
        buffer.extend_from_slice(b"\" \"");
        field(buffer, head, "user-agent");
        buffer.extend_from_slice(b"\"\n");
    }
}

/// `[21/Nov/2026:06:55:04 +0000]`, put together once a second.
#[derive(Default)]
struct Clock {
    second: Option<i64>,
    text: String,
}

impl Clock {
    fn read(&mut self, now: Timestamp) -> &str {
        if self.second != Some(now.as_second()) {
            self.second = Some(now.as_second());
            let local = now.to_zoned(TimeZone::system());
            self.text = local.strftime("[%d/%b/%Y:%H:%M:%S %z]").to_string();
        }
        &self.text
    }
}

/// The values of a field, with a comma between repetitions as in the environ; a dash if none.
fn field(buffer: &mut Vec<u8>, head: &RequestHead, name: &str) {
    let mut values = head
        .headers()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value);
    match values.next() {
        Some(value) => escape(buffer, value),
        None => buffer.push(b'-'),
    }
    for value in values {
        buffer.push(b',');
        escape(buffer, value);
    }
}

/// Appends `value` so that it ends where its field ends: quotation marks and backslashes get a
/// backslash, whatever is not printable ASCII becomes `\xNN`.
fn escape(buffer: &mut Vec<u8>, value: &[u8]) {
    let mut rest = value;
    while let Some(special) = rest.iter().position(|byte| !is_plain(*byte)) {
        let (plain, tail) = rest.split_at(special);
        buffer.extend_from_slice(plain);
        let Some((byte, tail)) = tail.split_first() else {
            return;
        };
        match byte {
            b'"' | b'\\' => buffer.extend_from_slice(&[b'\\', *byte]),
            byte => append(buffer, format_args!("\\x{byte:02x}")),
        }
        rest = tail;
    }
    buffer.extend_from_slice(rest);
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn append(buffer: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to a Vec never fails, and no Display here does.
    write!(buffer, "{value}").ok();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc as Shared;

    use rgunicorn_http1::{Config, Connection, Event, Peer};

    use super::*;

    fn head(request: &[u8]) -> RequestHead {
        let mut connection = Connection::new(Shared::new(Config::new()), Peer::Local);
        connection.receive_data(request);
        match connection.next_event() {
            Ok(Event::Request(head)) => head,
            other => panic!("no request: {other:?}"),
        }
    }

    fn line(request: &[u8], peer: Option<&str>, status: u16, sent_bytes: u64) -> String {
        let mut line = Line::default();
        let entry = Entry {
            head: &head(request),
            peer: peer.map(|peer| peer.parse().unwrap()),
            status,
            sent_bytes,
        };
        line.format(&entry, Timestamp::UNIX_EPOCH);
        let date = line.clock.text.clone();
        assert_eq!(date.len(), "[01/Jan/1970:00:00:00 +0000]".len());
        String::from_utf8(line.buffer).unwrap().replace(&date, "[date]")
    }

    /// What gunicorn 27.0.1 wrote for the same requests, the date aside.
    #[test]
    fn lines_are_gunicorns() {
        let cases: [(&[u8], u16, u64, &str); 11] = [
            (
                b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.0\r\nReferer: http://r/\r\n\r\n",
                200,
                5,
                r#"127.0.0.1 - - [date] "GET /a?b=c HTTP/1.1" 200 5 "http://r/" "curl/8.0""#,
            ),
            (
                b"GET / HTTP/1.0\r\n\r\n",
                200,
                5,
                r#"127.0.0.1 - - [date] "GET / HTTP/1.0" 200 5 "-" "-""#,
            ),
            (
                b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
                200,
                0,
                r#"127.0.0.1 - - [date] "HEAD / HTTP/1.1" 200 0 "-" "-""#,
            ),
            (
                b"GET /empty HTTP/1.1\r\nHost: x\r\nAuthorization: Basic am9objpwdw==\r\n\r\n",
                204,
                0,
                r#"127.0.0.1 - john [date] "GET /empty HTTP/1.1" 204 0 "-" "-""#,
            ),
            (
                b"GET /q HTTP/1.1\r\nHost: x\r\nUser-Agent: a\"b\r\nReferer:\r\n\r\n",
                200,
                5,
                r#"127.0.0.1 - - [date] "GET /q HTTP/1.1" 200 5 "" "a\"b""#,
            ),
            (
                b"GET /q HTTP/1.1\r\nHost: x\r\nUser-Agent: one\r\nUser-Agent: two\r\n\r\n",
                200,
                5,
                r#"127.0.0.1 - - [date] "GET /q HTTP/1.1" 200 5 "-" "one,two""#,
            ),
            (
                b"GET /u HTTP/1.1\r\nHost: x\r\nAuthorization: Basic !!!\r\n\r\n",
                200,
                5,
                r#"127.0.0.1 - - [date] "GET /u HTTP/1.1" 200 5 "-" "-""#,
            ),
            (
                b"GET /u2 HTTP/1.1\r\nHost: x\r\nAuthorization: basic OnB3\r\n\r\n",
                200,
                5,
                r#"127.0.0.1 - - [date] "GET /u2 HTTP/1.1" 200 5 "-" "-""#,
            ),
            (
                b"GET /u3 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic am9obg==\r\n\r\n",
                200,
                5,
                r#"127.0.0.1 - john [date] "GET /u3 HTTP/1.1" 200 5 "-" "-""#,
            ),
            (
                b"GET /u5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abc\r\n\r\n",
                200,
                5,
                r#"127.0.0.1 - - [date] "GET /u5 HTTP/1.1" 200 5 "-" "-""#,
            ),
            (
                b"GET /p%20%22 HTTP/1.1\r\nHost: x\r\n\r\n",
                200,
                5,
                r#"127.0.0.1 - - [date] "GET /p%20%22 HTTP/1.1" 200 5 "-" "-""#,
            ),
        ];
        for (request, status, sent_bytes, expected) in cases {
            let line = line(request, Some("127.0.0.1:5"), status, sent_bytes);
            assert_eq!(line.trim_end_matches('\n'), expected);
        }
        let unix = line(b"GET /unix HTTP/1.1\r\nHost: x\r\n\r\n", None, 200, 5);
        assert_eq!(unix, " - - [date] \"GET /unix HTTP/1.1\" 200 5 \"-\" \"-\"\n");
        let six = line(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Some("[::1]:5"), 200, 5);
        assert!(six.starts_with("::1 - - ["), "{six}");
    }

    #[test]
    fn nothing_a_client_sends_leaves_its_field() {
        // The user is "a\nb", the agent has a quotation mark behind a backslash, and a tab.
        let forged = line(
            b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YQpiOnA=\r\n\
              User-Agent: \\\" 200\t\xe9\r\n\r\n",
            Some("127.0.0.1:5"),
            200,
            5,
        );
        let expected = "127.0.0.1 - a\\x0ab [date] \"GET / HTTP/1.1\" 200 5 \"-\" \
                        \"\\\\\\\" 200\\x09\\xe9\"\n";
        assert_eq!(forged, expected);
        let every_byte: Vec<u8> = (0..=255).collect();
        let mut escaped = Vec::new();
        escape(&mut escaped, &every_byte);
        assert!(escaped.iter().all(|byte| matches!(byte, b' '..=b'~')));
    }
}
