//! Status line and header fields as `start_response` takes them: checked once, kept as bytes.

use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::PyErr;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use thiserror::Error;

use crate::ffi;

/// The head of a response, as the application gave it and after it was checked.
///
/// The names are tokens and the values free of control characters (RFC 9110 §5.1, §5.5), so they may
/// be written to the wire as they are. Hop-by-hop fields (RFC 9110 §7.6.1) are never among them: the
/// connection is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// The status code, 200 to 999.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: &'a [u8],
    /// The header fields, name and value, in the application's order.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The length of the body in bytes, if it is known although no `Content-Length` field says so:
    /// the body is empty, or a list.
    pub length: Option<u64>,
}

/// A response head that owns its bytes and reuses their memory.
#[derive(Debug, Default)]
pub(crate) struct HeadBuffer {
    status: u16,
    /// The reason phrase, then the names and values of all fields, without anything in between.
    text: Vec<u8>,
    /// Length of the reason phrase in `text`.
    reason: usize,
    /// Lengths of name and value of each field in `text`; their sum with `reason` is `text.len()`.
    fields: Vec<(usize, usize)>,
    content_length: Option<u64>,
}

impl HeadBuffer {
    /// Replaces the content by what the application passed to `start_response`.
    ///
    /// Afterwards the content is valid only if this returned `Ok`.
    pub(crate) fn fill(
        &mut self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyList>,
    ) -> Result<(), HeadError> {
        self.text.clear();
        self.fields.clear();
        self.content_length = None;
        let text = status.cast::<PyString>().map_err(|_| HeadError::StatusType(shown(status)))?;
        latin1(text)
            .and_then(|text| self.set_status(text))
            .ok_or_else(|| HeadError::Status(shown(status)))?;
        for field in headers.iter() {
            let (name, value) = pair(&field).ok_or_else(|| HeadError::FieldType(shown(&field)))?;
            let token = latin1(&name)
                .filter(|name| is_token(name))
                .ok_or_else(|| HeadError::Name(shown(&name)))?;
            // A value may be a secret: the name has to do.
            let content = latin1(&value)
                .map(trim_white_space)
                .filter(|value| is_field_value(value))
                .ok_or_else(|| HeadError::Value(shown(&name)))?;
            self.push_field(token, content)
                .ok_or_else(|| HeadError::ContentLength(shown(&value)))?;
        }
        Ok(())
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The value of the `Content-Length` field.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Shows the head to `show`, with `length` beside it.
    pub(crate) fn view<R>(
        &self,
        length: Option<u64>,
        show: impl FnOnce(&ResponseHead<'_>) -> R,
    ) -> R {
        let (reason, mut rest) = self.text.split_at(self.reason);
        let fields = self.fields.iter().map(|&(name_len, value_len)| {
            let (name, after) = rest.split_at(name_len);
            let (value, after) = after.split_at(value_len);
            rest = after;
            (name, value)
        });
        // Few responses have more fields than this: no allocation for the rest of them.
        let mut inline: [(&[u8], &[u8]); INLINE_FIELDS] = [(&[], &[]); INLINE_FIELDS];
        let collected: Vec<(&[u8], &[u8])>;
        let headers = if let Some(headers) = inline.get_mut(..self.fields.len()) {
            headers.iter_mut().zip(fields).for_each(|(place, field)| *place = field);
            &*headers
        } else {
            collected = fields.collect();
            &collected
        };
        show(&ResponseHead { status: self.status, reason, headers, length })
    }

    /// `NNN` or `NNN reason` (RFC 9112 §4); gunicorn, too, takes the first form. `None` for others.
    fn set_status(&mut self, status: &[u8]) -> Option<()> {
        let (digits, reason) = status.split_first_chunk::<3>()?;
        let mut code = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            code = code * 10 + u16::from(digit - b'0');
        }
        let reason = match reason {
            [] => reason,
            [b' ', reason @ ..] => reason,
            _ => return None,
        };
        // Informational responses are never the answer (RFC 9110 §15.2).
        if code < 200 || !is_field_value(reason) {
            return None;
        }
        self.status = code;
        self.reason = reason.len();
        self.text.extend_from_slice(reason);
        Some(())
    }

    /// `None` for a `Content-Length` that is no number, or another one than before.
    fn push_field(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if name.eq_ignore_ascii_case(b"Content-Length") {
            let length = parse_content_length(value)?;
            // Twice the same is one too many on the wire (RFC 9110 §8.6), but does no harm here.
            match self.content_length.replace(length) {
                None => {}
                Some(earlier) if earlier == length => return Some(()),
                Some(_) => return None,
            }
            // It has no body and must not announce one (RFC 9110 §8.6).
            if self.status == 204 {
                return Some(());
            }
        } else if let Some(index) = hop_by_hop(name) {
            warn_once(index);
            return Some(());
        }
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.fields.push((name.len(), value.len()));
        Some(())
    }
}

/// What is wrong with the arguments of `start_response`: frameworks pass on what they were given, so
/// that the traceback alone does not tell which field it was.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum HeadError {
    #[error("Content-Length must be one number of bytes, and this one is {0}")]
    ContentLength(String),
    #[error("each header must be a tuple of two str, and this one is {0}")]
    FieldType(String),
    #[error("headers must be a list, not {0}")]
    HeadersType(String),
    #[error("a header name must be a token (RFC 9110, section 5.6.2), and this one is {0}")]
    Name(String),
    #[error(
        "status must be a number from 200 to 999, a space and a reason, without control characters, \
         not {0}"
    )]
    Status(String),
    #[error("status must be a str, not {0}")]
    StatusType(String),
    #[error("the value of header {0} must be latin-1 without control characters")]
    Value(String),
}

impl From<HeadError> for PyErr {
    fn from(error: HeadError) -> Self {
        let text = error.to_string();
        match error {
            HeadError::FieldType(_) | HeadError::HeadersType(_) | HeadError::StatusType(_) => {
                PyTypeError::new_err(text)
            }
            HeadError::ContentLength(_)
            | HeadError::Name(_)
            | HeadError::Status(_)
            | HeadError::Value(_) => PyValueError::new_err(text),
        }
    }
}

/// The header fields as a list, which PEP 3333 wants. As with gunicorn any other iterable will do:
/// middleware passes on tuples and `items()`.
pub(crate) fn header_list<'py>(headers: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    if let Ok(list) = headers.cast::<PyList>() {
        return Ok(list.clone());
    }
    let fields = headers.try_iter().map_err(|_| HeadError::HeadersType(shown(headers)))?;
    PyList::new(headers.py(), fields.collect::<PyResult<Vec<_>>>()?)
}

/// Name and value of a field: a tuple, or a list as gunicorn takes it, too.
fn pair<'py>(field: &Bound<'py, PyAny>) -> Option<(Bound<'py, PyString>, Bound<'py, PyString>)> {
    match field.cast::<PyList>() {
        Ok(list) => list.to_tuple().extract().ok(),
        Err(_) => field.extract().ok(),
    }
}

fn latin1<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    ffi::latin1_bytes(text).ok().flatten()
}

/// What Python shows of an object, as far as it fits a line of the log.
fn shown(object: &Bound<'_, PyAny>) -> String {
    let Ok(repr) = object.repr() else {
        return "an object that cannot be shown".to_owned();
    };
    let mut text = repr.to_string_lossy().into_owned();
    if let Some((end, _)) = text.char_indices().nth(SHOWN_LIMIT) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A token (RFC 9110 §5.6.2).
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| TOKEN.get(usize::from(byte)) == Some(&true))
}

/// A field value (RFC 9110 §5.5): visible characters, space, tab, and the upper half of latin-1.
/// No early exit: without one the compiler compares many bytes at a time.
fn is_field_value(value: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    !value.iter().fold(false, |found, &byte| found | is_control(byte))
}

/// White space around a value is no part of it (RFC 9110 §5.5).
fn trim_white_space(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Digits only (RFC 9110 §8.6): no sign, no list.
fn parse_content_length(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The index in `HOP_BY_HOP`.
fn hop_by_hop(name: &[u8]) -> Option<usize> {
    HOP_BY_HOP.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Existing applications set such fields in good faith, and gunicorn drops them; a line per process
/// and name tells their authors without filling the log.
fn warn_once(index: usize) {
    static WARNED: AtomicU8 = AtomicU8::new(0);
    let bit = 1 << index;
    if WARNED.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        let name = HOP_BY_HOP.get(index).copied().unwrap_or_default();
        log::warn!(
            "the application set {name}, which belongs to the connection (RFC 9110, section 7.6.1); \
             it is dropped here and in later responses"
        );
    }
}

const INLINE_FIELDS: usize = 24;
/// The most of an object that an error shows, in characters.
const SHOWN_LIMIT: usize = 100;

/// The fields that concern one connection only: those of RFC 9110 §7.6.1 and, as in gunicorn, of
/// RFC 2616 §13.5.1. Eight, one for each bit of `WARNED`.
const HOP_BY_HOP: [&str; 8] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailers",
    "Transfer-Encoding",
    "Upgrade",
];

/// `true` at each byte that may be in a token.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let tokens = b"!#$%&'*+-.^_`|~0123456789\
        ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut index = 0;
    while index < tokens.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            table[tokens[index] as usize] = true;
        }
        index += 1;
    }
    table
};
