//! Reads recorded requests and tells what they mean: rgunicorn-http1 without even a socket.
//!
//! ```text
//! cargo run -p rgunicorn-examples --bin http1_replay -- crates/http1/tests/corpus/*/chunk*.http
//! ```
//!
//! It runs the loop of `http1_blocking` over files, one byte at a time, and writes each event behind
//! the number of bytes after which it came. So one sees what a server knows when, and that a
//! protocol without IO can be debugged from a file that somebody has sent.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;
use std::{fs, slice};

use bytes::BytesMut;
use rgunicorn_http1::{Config, Connection, Event, Headers, Peer, ResponseHead};

fn main() -> Result<(), Box<dyn Error>> {
    let mut report = io::stdout().lock();
    for path in std::env::args_os().skip(1) {
        let path = Path::new(&path);
        let recorded = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        writeln!(report, "{}", path.display())?;
        replay(&recorded, &mut report)?;
    }
    Ok(())
}

fn replay(recorded: &[u8], report: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut http = Connection::new(Config::new().into(), Peer::Local);
    let mut bytes = recorded.iter();
    loop {
        let event = http.next_event();
        let position = recorded.len() - bytes.len();
        match event {
            Ok(Event::NeedData) => match bytes.next() {
                None => http.receive_eof(),
                Some(byte) => http.receive_data(slice::from_ref(byte)),
            },
            Ok(Event::Request(head)) => {
                let (method, target) = (head.method(), head.target().escape_ascii());
                writeln!(report, "{position:6}  {method} {target} {}", head.version())?;
                for (name, value) in head.headers() {
                    writeln!(report, "        {}: {}", name.escape_ascii(), value.escape_ascii())?;
                }
            }
            Ok(Event::Data(data)) => {
                writeln!(report, "{position:6}  data \"{}\"", data.escape_ascii())?;
            }
            Ok(Event::EndOfMessage(trailers)) => {
                writeln!(report, "{position:6}  end of message")?;
                for (name, value) in trailers.iter() {
                    writeln!(report, "        {}: {}", name.escape_ascii(), value.escape_ascii())?;
                }
                // A pipelined request is read only after the one before it was answered.
                let mut unsent = BytesMut::new();
                http.send_response(&ResponseHead::new(204, &[]), SystemTime::now(), &mut unsent)?;
                http.send_end(Headers::empty(), &mut unsent)?;
                if !http.can_reuse() {
                    return Ok(writeln!(report, "{position:6}  no further request")?);
                }
                http.start_next_cycle()?;
            }
            Ok(Event::Closed | Event::Paused) => {
                return Ok(writeln!(report, "{position:6}  closed")?);
            }
            Err(error) => {
                return Ok(writeln!(report, "{position:6}  {} {error}", error.status())?);
            }
        }
    }
}
