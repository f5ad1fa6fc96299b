//! `wsgi.input`: the request body as a file.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::call::{AnyCall, attempt};
use crate::exchange::Exchange;
use crate::response::Fault;
use crate::slot::{Slot, Unavailable};

/// PEP 3333, "Input and Error Streams": `read`, `readline`, `readlines` and iteration, all with
/// their optional sizes, and nothing else.
///
/// It ends where the body ends (`wsgi.input_terminated`). After the request it raises `ValueError`,
/// as a closed file does.
#[pyclass(frozen, module = "rgunicorn")]
pub(crate) struct Input(Option<Body>);

struct Body {
    call: Arc<AnyCall>,
    ahead: Slot<Ahead>,
}

impl Input {
    /// The input of all requests without a body.
    pub(crate) fn empty() -> Self {
        Self(None)
    }

    pub(crate) fn new(call: Arc<AnyCall>) -> Self {
        let ahead = Slot::new();
        ahead.open(Ahead::default());
        Self(Some(Body { call, ahead }))
    }

    fn take<'py>(
        &self,
        py: Python<'py>,
        size: Option<isize>,
        until: Until,
    ) -> PyResult<Bound<'py, PyBytes>> {
        // PEP 3333 leaves negative sizes open; files take them for "all".
        let limit = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        match &self.0 {
            Some(body) => body.take(py, limit, until),
            None => Ok(PyBytes::new(py, b"")),
        }
    }
}

#[pymethods]
impl Input {
    /// Up to `size` bytes, fewer only at the end of the body; everything if negative or `None`.
    #[pyo3(signature = (size = None))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, size, Until::Limit)
    }

    /// Up to and with the next newline, but at most `size` bytes.
    #[pyo3(signature = (size = None))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, size, Until::Newline)
    }

    /// The remaining lines, or as many as it takes to reach `hint` bytes.
    #[pyo3(signature = (hint = None))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let hint = hint.and_then(|hint| usize::try_from(hint).ok()).filter(|&hint| hint > 0);
        let lines = PyList::empty(py);
        let mut total = 0;
        while hint.is_none_or(|hint| total < hint) {
            let Some(line) = self.__next__(py)? else { break };
            total += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.take(py, None, Until::Newline)?;
        Ok(if line.as_bytes().is_empty() { None } else { Some(line) })
    }
}

impl Body {
    fn take<'py>(
        &self,
        py: Python<'py>,
        limit: usize,
        until: Until,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let taken = self.ahead.lend(|ahead| {
            let mut taken = None;
            let take = &mut |exchange: &mut dyn Exchange| {
                taken = Some(ahead.take(py, exchange, limit, until));
            };
            self.call.exchange.lend(take).map(|()| taken)
        })??;
        match taken {
            Some(taken) => taken.map_err(|fault| self.call.raise(fault)),
            None => Err(Unavailable::Over.into()),
        }
    }
}

/// Where a read ends, if neither its limit nor the end of the body comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Limit,
    Newline,
}

/// What came from the exchange and was not yet given to the application. After an error nothing is
/// lost: the bytes stay for the next read.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    /// Where the unread part begins; `0 <= start <= bytes.len()`.
    start: usize,
    /// The exchange has said that there is no more.
    ended: bool,
}

impl Ahead {
    fn take<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &mut dyn Exchange,
        limit: usize,
        until: Until,
    ) -> Result<Bound<'py, PyBytes>, Fault> {
        let here = limit.min(self.unread().len());
        if let (Until::Limit, Some(size)) = (until, exchange.read_size(limit - here)) {
            return self.take_exactly(py, exchange, here + size.min(limit - here));
        }
        let length = self.gather(py, exchange, limit, until)?;
        Ok(PyBytes::new(py, self.consume(length)))
    }

    /// Reads straight into the object that the application gets, if `length` bytes are to be had.
    fn take_exactly<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &mut dyn Exchange,
        length: usize,
    ) -> Result<Bound<'py, PyBytes>, Fault> {
        let mut filled = length.min(self.unread().len());
        let mut result = Ok(());
        let bytes = PyBytes::new_with(py, length, |buffer| {
            let (ahead, rest) = buffer.split_at_mut(filled);
            ahead.copy_from_slice(self.consume(filled));
            let (read, outcome) = read_all(py, exchange, rest);
            filled += read;
            result = outcome;
            if filled < length {
                self.bytes = buffer.get(..filled).unwrap_or_default().to_vec();
                self.start = 0;
            }
            Ok(())
        })?;
        result?;
        Ok(if filled < length { PyBytes::new(py, self.consume(filled)) } else { bytes })
    }

    /// Reads until the unread bytes contain what was asked for, and returns its length.
    fn gather(
        &mut self,
        py: Python<'_>,
        exchange: &mut dyn Exchange,
        limit: usize,
        until: Until,
    ) -> Result<usize, Fault> {
        let mut searched = 0;
        loop {
            let unread = self.unread();
            let window = unread.get(..limit).unwrap_or(unread);
            if until == Until::Newline {
                let new = window.get(searched..).unwrap_or_default();
                if let Some(at) = memchr::memchr(b'\n', new) {
                    return Ok(searched + at + 1);
                }
            }
            searched = window.len();
            if self.ended || searched == limit {
                return Ok(searched);
            }
            // A read takes no more than it needs, so that an application that leaves the body
            // unread after a few bytes does not make us fetch it.
            let wanted = match until {
                Until::Limit => limit - searched,
                Until::Newline => CHUNK_BYTES,
            };
            self.fill(py, exchange, wanted)?;
        }
    }

    /// Reads once. The buffer grows with what has come, not with what the application asked for:
    /// `read(10 ** 12)` of a small body costs little.
    fn fill(
        &mut self,
        py: Python<'_>,
        exchange: &mut dyn Exchange,
        wanted: usize,
    ) -> Result<(), Fault> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let filled = self.bytes.len();
        self.bytes.resize(filled + wanted.min(CHUNK_BYTES), 0);
        let space = self.bytes.get_mut(filled..).unwrap_or_default();
        let result = attempt(py, exchange, |exchange| exchange.read_body(space));
        let read = *result.as_ref().unwrap_or(&0);
        self.bytes.truncate(filled + read);
        self.ended = result? == 0;
        Ok(())
    }

    fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Marks the next `len` bytes as read and returns them.
    fn consume(&mut self, len: usize) -> &[u8] {
        let from = self.start;
        self.start += len;
        self.bytes.get(from..self.start).unwrap_or_default()
    }
}

/// Fills `space`, unless the body ends or an error comes first; also says how far it came.
fn read_all(
    py: Python<'_>,
    exchange: &mut dyn Exchange,
    mut space: &mut [u8],
) -> (usize, Result<(), Fault>) {
    let length = space.len();
    while !space.is_empty() {
        match attempt(py, exchange, |exchange| exchange.read_body(space)) {
            Ok(0) => break,
            Ok(read) => space = space.get_mut(read..).unwrap_or_default(),
            Err(fault) => return (length - space.len(), Err(fault)),
        }
    }
    (length - space.len(), Ok(()))
}

/// The most that is asked for at a time, in bytes, if nobody knows how much will come.
const CHUNK_BYTES: usize = 64 * 1024;
