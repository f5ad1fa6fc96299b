//! The access log: one line for each request, in the format of gunicorn that the operator chose.
//!
//! The bytes are gunicorn's, with one exception: what a client or an application sent cannot leave
//! its field. gunicorn escapes the quotation mark only, and a line break in a user name forges a
//! line there.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rgunicorn_http1::RequestHead;
use rgunicorn_workers::{Record, RequestLog};

use crate::access_format::{AccessFormat, Atom, Piece};
use crate::basic_auth;
use crate::log_file::{LogFile, LogFileError, Standard};
use crate::settings::Settings;

/// The access log of this process and of those that it forks. Clones share one file.
#[derive(Clone, Debug)]
pub struct AccessLog {
    file: Arc<LogFile>,
    format: Arc<AccessFormat>,
    /// Lines that could not be written, since the last one that could.
    lost: Arc<AtomicU64>,
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
        let format = Arc::new(settings.access_log_format.clone());
        Ok(Some(Self { file, format, lost: Arc::default() }))
    }

    /// Tells of the first line that is lost and of the end of the loss, not of each line: a full disk
    /// is not to fill another one.
    fn note(&self, written: Result<(), LogFileError>) {
        match written {
            Ok(()) if self.lost.load(Ordering::Relaxed) == 0 => {}
            Ok(()) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                log::error!("The access log is written again; {lost} lines of it are lost");
            }
            Err(error) => {
                if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                    log::error!("{error}: lines of the access log are lost");
                }
            }
        }
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
        self.note(LINE.with_borrow_mut(|line| {
            line.format(&self.format, record, Timestamp::now());
            self.file.write_line(&line.buffer)
        }));
    }
}

/// A line, and what is worth keeping for the next one.
#[derive(Default)]
struct Line {
    buffer: Vec<u8>,
    clock: Clock,
}

impl Line {
    fn format(&mut self, format: &AccessFormat, record: &Record<'_>, now: Timestamp) {
        self.buffer.clear();
        for piece in format.pieces() {
            match piece {
                Piece::Atom(atom, layout) => {
                    let start = self.buffer.len();
                    self.atom(atom, record, now);
                    layout.apply(&mut self.buffer, start);
                }
                Piece::Text(text) => self.buffer.extend_from_slice(text.as_bytes()),
            }
        }
        self.buffer.push(b'\n');
    }

    fn atom(&mut self, atom: &Atom, record: &Record<'_>, now: Timestamp) {
        let Self { buffer, clock } = self;
        let (head, duration) = (record.request, record.duration);
        match atom {
            Atom::DecimalSeconds => {
                append(
                    buffer,
                    format_args!("{}.{:06}", duration.as_secs(), duration.subsec_micros()),
                );
            }
            Atom::Environ(name) => environ(buffer, name, record),
            Atom::Field(name) => field(buffer, head, name),
            Atom::Method => escape(buffer, head.method().as_bytes()),
            Atom::Microseconds => append(buffer, duration.as_micros()),
            Atom::Milliseconds => append(buffer, duration.as_millis()),
            Atom::Path => decoded(buffer, Target::of(head).path),
            Atom::Pid => append(buffer, format_args!("<{}>", std::process::id())),
            Atom::Protocol => buffer.extend_from_slice(head.version().as_str().as_bytes()),
            Atom::Query => escape(buffer, Target::of(head).query),
            Atom::RemoteAddress => remote_address(buffer, record),
            Atom::RequestHeader(name) => last(buffer, head.headers(), name),
            Atom::RequestLine => {
                escape(buffer, head.method().as_bytes());
                buffer.push(b' ');
                escape(buffer, head.target());
                buffer.push(b' ');
                buffer.extend_from_slice(head.version().as_str().as_bytes());
            }
            Atom::ResponseHeader(name) => {
                let headers = record.response_headers.iter();
                last(buffer, headers.map(|(name, value)| (&**name, &**value)), name);
            }
            Atom::Seconds => append(buffer, duration.as_secs()),
            Atom::SentBytes => append(buffer, record.sent_bytes),
            Atom::Status => append(buffer, record.status),
            Atom::Time => buffer.extend_from_slice(clock.read(now).as_bytes()),
            Atom::User => match head.header("authorization").and_then(basic_auth::user) {
                Some(user) => escape(buffer, &user),
                None => buffer.push(b'-'),
            },
        }
    }
}

/// A variable of the WSGI environ, as the application left it; a dash if there is none.
fn environ(buffer: &mut Vec<u8>, name: &str, record: &Record<'_>) {
    match record.notes.iter().find(|(noted, _)| **noted == *name) {
        Some((_, value)) => escape_text(buffer, value),
        None => buffer.push(b'-'),
    }
}

/// A client on a Unix socket has no address, and gunicorn then writes nothing at all.
fn remote_address(buffer: &mut Vec<u8>, record: &Record<'_>) {
    if let Some(peer) = record.peer {
        append(buffer, peer.ip().to_canonical());
    }
}

/// The parts of a request's target (RFC 9112 §3.2).
struct Target<'a> {
    path: &'a [u8],
    query: &'a [u8],
}

impl<'a> Target<'a> {
    fn of(head: &'a RequestHead) -> Self {
        let target = head.target();
        let is_authority = |rest: &&[u8]| !target.starts_with(b"/") && !rest.is_empty();
        // Absolute form: the path begins at the first slash after `//authority`.
        let authority = target
            .windows(3)
            .position(|window| window == b"://")
            .and_then(|scheme| target.get(scheme + 3..))
            .filter(is_authority);
        let origin = match authority {
            Some(rest) => {
                let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
                rest.split_at(path.unwrap_or(rest.len())).1
            }
            None => target,
        };
        let origin = until(origin, b'#').0;
        let (path, query) = until(origin, b'?');
        Self { path, query }
    }
}

/// What stands before the first `separator`, and what behind it.
fn until(text: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |byte| *byte == separator);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// The path as `PATH_INFO` has it: percent-decoded (RFC 3986 §2.1).
fn decoded(buffer: &mut Vec<u8>, path: &[u8]) {
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        let code = after.split_at_checked(2).filter(|_| *byte == b'%');
        let octet = code.and_then(|(digits, after)| {
            let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        let (byte, after) = octet.unwrap_or((*byte, after));
        escape(buffer, &[byte]);
        rest = after;
    }
}

/// The last value of a field, as gunicorn has it for single fields; a dash if there is none.
fn last<'a>(buffer: &mut Vec<u8>, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, name: &str) {
    let values = fields
        .filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value);
    match values.last() {
        Some(value) => escape(buffer, value),
        None => buffer.push(b'-'),
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

/// Appends Python's text: characters that are one byte in the environ (PEP 3333, "Unicode Issues")
/// as [`escape`] has that byte, others by their number as Python's `ascii()` has them.
fn escape_text(buffer: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) => escape(buffer, &[byte]),
            Err(_) if u32::from(character) <= 0xFFFF => {
                append(buffer, format_args!("\\u{:04x}", u32::from(character)));
            }
            Err(_) => append(buffer, format_args!("\\U{:08x}", u32::from(character))),
        }
    }
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
        let head = head(request);
        let mut record = Record::new(&head);
        record.peer = peer.map(|peer| peer.parse().unwrap());
        (record.status, record.sent_bytes) = (status, sent_bytes);
        let mut line = Line::default();
        line.format(&AccessFormat::default(), &record, Timestamp::UNIX_EPOCH);
        let date = line.clock.text.clone();
        assert_eq!(date.len(), "[01/Jan/1970:00:00:00 +0000]".len());
        String::from_utf8(line.buffer).unwrap().replace(&date, "[date]")
    }

    #[test]
    fn lines_that_are_lost_are_counted_until_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let target = |path: &std::path::Path| crate::settings::LogTarget::File(path.to_owned());
        let full = Some(target(std::path::Path::new("/dev/full")));
        let settings = Settings { accesslog: full, ..Settings::default() };
        let log = AccessLog::open(&settings).unwrap().unwrap();
        let head = head(b"GET / HTTP/1.0\r\n\r\n");
        for lost in [1, 2] {
            log.request_done(&Record::new(&head));
            assert_eq!(log.lost.load(Ordering::Relaxed), lost);
        }
        log.file.redirect(&target(&path), (&settings).into()).unwrap();
        log.request_done(&Record::new(&head));
        assert_eq!(log.lost.load(Ordering::Relaxed), 0);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
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

    /// What gunicorn 27.0.1 wrote for the same request, `p` and the times aside.
    #[test]
    fn every_atom() {
        let head = head(
            b"POST /a%20b%22/c?d=%22e#f HTTP/1.1\r\nHost: x\r\nX-Id: one\r\nx-id: two\r\n\
              Content-Type: text/plain\r\nContent-Length: 0\r\nReferer: r\r\nUser-Agent: u\r\n\
              Authorization: Basic am9objpwdw==\r\n\r\n",
        );
        let headers = [(&b"X-Foo"[..], &b"b\"ar\n"[..]), (b"Content-Type", b"text/html")]
            .map(|(name, value)| (name.into(), value.into()));
        let mut record = Record::new(&head);
        record.peer = Some("[::ffff:10.0.0.1]:99".parse().unwrap());
        (record.status, record.sent_bytes) = (201, 7);
        record.duration = std::time::Duration::from_micros(2_003_004);
        record.response_headers = &headers;
        let notes = [("remote_user".into(), "j\"o\u{e9}\u{2603}\u{1f600}".into())];
        record.notes = &notes;
        let pid = format!("<{}>", std::process::id());
        for (atoms, expected) in [
            ("%(h)s %(l)s %(u)s", "10.0.0.1 - john"),
            ("%(r)s", "POST /a%20b%22/c?d=%22e#f HTTP/1.1"),
            ("%(m)s %(U)s %(q)s %(H)s", "POST /a b\\\"/c d=%22e HTTP/1.1"),
            ("%(s)s %(b)s %(B)s %(B)d", "201 7 7 7"),
            ("%(f)s %(a)s", "r u"),
            ("%(T)s %(D)s %(M)s %(L)s", "2 2003004 2003 2.003004"),
            ("%(p)s", &pid),
            ("%({X-ID}i)s %({x-none}i)s", "two -"),
            ("%({x-foo}o)s %({CONTENT-TYPE}o)s %({x-id}o)s", "b\\\"ar\\x0a text/html -"),
            ("%({Remote_User}e)s %({none}e)s", "j\\\"o\\xe9\\u2603\\U0001f600 -"),
            ("%(h)10.4s|%(h)-10s|%(h)-6.4s|", "      10.0|10.0.0.1  |10.0  |"),
            // Cut between characters, never within what a character was escaped to.
            ("%(U).5s|%(U)8.6s|%({X-ID}i).0s|", "/a b\\\"| /a b\\\"/||"),
            ("%({remote_user}e).4s|%({remote_user}e).5s|", "j\\\"o\\xe9|j\\\"o\\xe9\\u2603|"),
            ("%(D)010d|%(D)-9d|%(B)+d|%(T)5.3d|%(B)u|", "0002003004|2003004  |+7|  002|7|"),
            ("%(nothing)4s|%(l)-3s|", "   -|-  |"),
            ("%(nothing)s %({x}y)s 100%%", "- - 100%"),
        ] {
            let mut line = Line::default();
            line.format(&atoms.parse().unwrap(), &record, Timestamp::UNIX_EPOCH);
            assert_eq!(String::from_utf8(line.buffer).unwrap(), format!("{expected}\n"), "{atoms}");
        }
    }

    #[test]
    fn targets_of_every_form() {
        for (target, path, query) in [
            ("/", "/", ""),
            ("/a?b?c", "/a", "b?c"),
            ("/a#b?c", "/a", ""),
            ("/go?to=http://x/y", "/go", "to=http://x/y"),
            ("http://x/a?b", "/a", "b"),
            ("http://x?b", "", "b"),
            ("*", "*", ""),
        ] {
            let method = if target == "*" { "OPTIONS" } else { "GET" };
            let head = head(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
            let found = Target::of(&head);
            assert_eq!((found.path, found.query), (path.as_bytes(), query.as_bytes()), "{target}");
        }
    }

    #[test]
    fn percent_signs_that_encode_nothing_stay() {
        for (path, expected) in [("/%41%4", "/A%4"), ("/%zz%", "/%zz%"), ("/%0a", "/\\x0a")] {
            let mut buffer = Vec::new();
            decoded(&mut buffer, path.as_bytes());
            assert_eq!(String::from_utf8(buffer).unwrap(), expected);
        }
    }
}
