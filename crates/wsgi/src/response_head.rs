//! Status line and header fields as `start_response` takes them: checked once, kept as bytes.

use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::PyErr;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use thiserror::Error;

use crate::ffi;

/// The head of a response, as the application gave it and after it was checked.
///
/// The names are tokens and the values free of control characters (RFC 9110 §5.1, §5.5), so they may
/// be written to the wire as they are. Hop-by-hop fields (RFC 9110 §7.6.1) are never among them: the
/// connection is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// The status code, 100 to 999.
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
        headers: &Bound<'_, PyAny>,
    ) -> Result<(), HeadError> {
        self.text.clear();
        self.fields.clear();
        self.content_length = None;
        let status = status.cast::<PyString>().map_err(|_| HeadError::StatusType)?;
        let status = ffi::latin1_bytes(status).ok().flatten().ok_or(HeadError::Status)?;
        self.set_status(status)?;
        let headers = headers.cast::<PyList>().map_err(|_| HeadError::HeadersType)?;
        for field in headers.iter() {
            let field = field.cast::<PyTuple>().map_err(|_| HeadError::FieldType)?;
            let (Ok(name), Ok(value), 2) =
                (field.get_borrowed_item(0), field.get_borrowed_item(1), field.len())
            else {
                return Err(HeadError::FieldType);
            };
            let name = name.cast::<PyString>().map_err(|_| HeadError::FieldType)?;
            let value = value.cast::<PyString>().map_err(|_| HeadError::FieldType)?;
            let name = ffi::latin1_bytes(&name).ok().flatten().ok_or(HeadError::Name)?;
            let value = ffi::latin1_bytes(&value).ok().flatten().ok_or(HeadError::Value)?;
            self.push_field(name, value)?;
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

    /// `NNN` or `NNN reason` (RFC 9112 §4); gunicorn, too, takes the first form.
    fn set_status(&mut self, status: &[u8]) -> Result<(), HeadError> {
        let (digits, reason) = status.split_first_chunk::<3>().ok_or(HeadError::Status)?;
        let mut code = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(HeadError::Status);
            }
            code = code * 10 + u16::from(digit - b'0');
        }
        let reason = match reason {
            [] => reason,
            [b' ', reason @ ..] => reason,
            _ => return Err(HeadError::Status),
        };
        if code < 100 || !is_field_value(reason) {
            return Err(HeadError::Status);
        }
        self.status = code;
        self.reason = reason.len();
        self.text.extend_from_slice(reason);
        Ok(())
    }

    fn push_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if !is_token(name) {
            return Err(HeadError::Name);
        }
        let value = trim_white_space(value);
        if !is_field_value(value) {
            return Err(HeadError::Value);
        }
        if name.eq_ignore_ascii_case(b"Content-Length") {
            let length = parse_content_length(value).ok_or(HeadError::ContentLength)?;
            // Twice the same is one too many on the wire (RFC 9110 §8.6), but does no harm here.
            match self.content_length.replace(length) {
                None => {}
                Some(earlier) if earlier == length => return Ok(()),
                Some(_) => return Err(HeadError::ContentLength),
            }
            // These have no body and must not announce one (RFC 9110 §8.6).
            if matches!(self.status, 100..=199 | 204) {
                return Ok(());
            }
        } else if let Some(index) = hop_by_hop(name) {
            warn_once(index);
            return Ok(());
        }
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.fields.push((name.len(), value.len()));
        Ok(())
    }
}

/// What is wrong with the arguments of `start_response`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum HeadError {
    #[error("Content-Length must be one number of bytes")]
    ContentLength,
    #[error("each header must be a tuple of two str")]
    FieldType,
    #[error("headers must be a list")]
    HeadersType,
    #[error("a header name must be a token (RFC 9110, section 5.6.2)")]
    Name,
    #[error("status must be three digits, a space and a reason, without control characters")]
    Status,
    #[error("status must be a str")]
    StatusType,
    #[error("a header value must be latin-1 without control characters")]
    Value,
}

impl From<HeadError> for PyErr {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::FieldType | HeadError::HeadersType | HeadError::StatusType => {
                PyTypeError::new_err(error.to_string())
            }
            HeadError::ContentLength | HeadError::Name | HeadError::Status | HeadError::Value => {
                PyValueError::new_err(error.to_string())
            }
        }
    }
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
