//! A server in memory.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::indexing_slicing,
    clippy::struct_excessive_bools,
    clippy::unwrap_used,
    reason = "a helper may fail loudly, and its switches are independent"
)]

use std::ffi::CString;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rgunicorn_wsgi::pyo3::prelude::*;
use rgunicorn_wsgi::{
    App, AppError, EnvironOptions, Exchange, Local, Request, ResponseHead, Scheme,
};

/// What a client would see, and how the calls came.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) request_body: Vec<u8>,
    pub(crate) read: usize,
    /// The most bytes that one operation takes; 0 means all.
    pub(crate) step: usize,
    /// Every second operation answers `WouldBlock`.
    pub(crate) reluctant: bool,
    pub(crate) refused: bool,
    pub(crate) waits: usize,
    /// Sending fails after so many body bytes.
    pub(crate) breaks_after: Option<usize>,
    pub(crate) malformed_body: bool,
    /// How much of the body is left is known, or this is said of it.
    pub(crate) tells_length: bool,
    pub(crate) announced: Option<usize>,
    /// Reading fails once when so many bytes have been read.
    pub(crate) stumbles_after: Option<usize>,
    pub(crate) heads: Vec<Head>,
    pub(crate) body: Vec<u8>,
    pub(crate) pieces: usize,
    pub(crate) files: usize,
    pub(crate) rests: usize,
    pub(crate) sends_files: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) length: Option<u64>,
}

impl Memory {
    pub(crate) fn with_body(body: &[u8]) -> Self {
        Self { request_body: body.to_vec(), ..Self::default() }
    }

    pub(crate) fn head(&self) -> &Head {
        assert_eq!(self.heads.len(), 1, "{self:?}");
        &self.heads[0]
    }

    fn hesitate(&mut self) -> io::Result<()> {
        self.refused = self.reluctant && !self.refused;
        if self.refused { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    fn limit(&self, len: usize) -> usize {
        if self.step == 0 { len } else { len.min(self.step) }
    }
}

impl Exchange for Memory {
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.hesitate()?;
        if self.malformed_body {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bad chunk size"));
        }
        let limit = self.limit(buffer.len());
        if self.stumbles_after.take_if(|after| *after == self.read).is_some() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let read = (&self.request_body[self.read..]).read(&mut buffer[..limit])?;
        self.read += read;
        Ok(read)
    }

    fn read_size(&self, limit: usize) -> Option<usize> {
        let length = self.announced.unwrap_or(self.request_body.len());
        self.tells_length.then_some(limit.min(length.saturating_sub(self.read)))
    }

    fn send_head(&mut self, head: &ResponseHead<'_>) -> io::Result<()> {
        let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect();
        self.heads.push(Head {
            status: head.status,
            reason: text(head.reason),
            headers: head.headers.iter().map(|(name, value)| (text(name), text(value))).collect(),
            length: head.length,
        });
        Ok(())
    }

    fn send_data(&mut self, data: &[u8]) -> io::Result<usize> {
        assert!(!data.is_empty());
        assert!(!self.heads.is_empty());
        self.hesitate()?;
        let mut taken = self.limit(data.len());
        if let Some(left) = self.breaks_after {
            taken = taken.min(left - self.body.len());
            if taken == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        self.pieces += 1;
        self.body.extend_from_slice(&data[..taken]);
        Ok(taken)
    }

    fn send_rest(&mut self, data: bytes::Bytes) -> io::Result<()> {
        self.rests += 1;
        self.body.extend_from_slice(&data);
        match self.breaks_after {
            Some(limit) if self.body.len() > limit => {
                self.body.truncate(limit);
                Err(io::ErrorKind::BrokenPipe.into())
            }
            _ => Ok(()),
        }
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, range: Range<u64>) -> io::Result<u64> {
        if !self.sends_files {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.hesitate()?;
        self.files += 1;
        let file = std::fs::File::from(file.try_clone_to_owned()?);
        let limit = self.limit(usize::try_from(range.end - range.start).unwrap());
        let mut data = vec![0; limit];
        let read = file.read_at(&mut data, range.start)?;
        self.body.extend_from_slice(&data[..read]);
        Ok(read as u64)
    }

    fn wait(&mut self) -> io::Result<()> {
        self.waits += 1;
        if self.waits % 2 == 0 { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    }
}

/// The application `app` of a piece of Python source.
pub(crate) fn app(source: &str) -> App {
    app_with(source, EnvironOptions::default())
}

pub(crate) fn app_with(source: &str, options: EnvironOptions) -> App {
    let module = module(source);
    Python::attach(|py| App::new(module.getattr(py, "app").unwrap(), options))
}

pub(crate) fn module(source: &str) -> Py<PyModule> {
    Python::initialize();
    // A module of the same name would be executed into the first one's namespace.
    let name = format!("test_app_{}", MODULES.fetch_add(1, Ordering::Relaxed));
    let (code, name) = (CString::new(source).unwrap(), CString::new(name).unwrap());
    Python::attach(|py| PyModule::from_code(py, &code, c"test_app.py", &name).unwrap().unbind())
}

static MODULES: AtomicUsize = AtomicUsize::new(0);

pub(crate) type Headers<'a> = std::iter::Copied<std::slice::Iter<'a, (&'a [u8], &'a [u8])>>;

/// `GET /` on a TCP connection, to be varied.
pub(crate) fn get<'a>(headers: &'a [(&'a [u8], &'a [u8])]) -> Request<'a, Headers<'a>> {
    Request {
        method: "GET",
        target: b"/",
        version: "HTTP/1.1",
        headers: headers.iter().copied(),
        scheme: Scheme::Http,
        peer: Some(([192, 0, 2, 7], 50_312).into()),
        local: Local::Tcp { address: "192.0.2.1", port: 8000 },
        script_name: None,
        has_body: false,
    }
}

/// Calls the application of `source` once.
pub(crate) fn call(source: &str) -> (Memory, Result<(), AppError>) {
    app(source).call(get(&[]), Memory::default())
}

/// Lines of Python as the body of a function.
pub(crate) fn indented(lines: &str) -> String {
    lines.lines().flat_map(|line| ["    ", line, "\n"]).collect()
}

/// What the application returned as text.
pub(crate) fn text(memory: &Memory) -> &str {
    std::str::from_utf8(&memory.body).unwrap()
}

/// Records of the `log` crate, as `LEVEL target: message`, that contain `part`.
///
/// The first call starts the recording. Tests of one process share it: look for text of your own.
pub(crate) fn logged(part: &str) -> Vec<String> {
    // Only the first call can succeed.
    if log::set_logger(&RECORDER).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    RECORDER.0.lock().unwrap().iter().filter(|record| record.contains(part)).cloned().collect()
}

struct Recorder(Mutex<Vec<String>>);

static RECORDER: Recorder = Recorder(Mutex::new(Vec::new()));

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}
