//! Header fields as environ keys and values, remembered from request to request.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::ffi;

/// Keeps, by the raw name of a header field, its environ key and its last value as Python objects.
///
/// Clients repeat themselves: a browser sends the same ten names with nearly always the same values.
/// Comparing bytes is far cheaper than making, and later hashing, a `str`. Its memory is bounded by
/// `BUCKETS * WAYS` times the two limits, whatever clients send.
pub(crate) struct HeaderCache {
    /// A set-associative table: a name is only ever in the bucket of its hash.
    buckets: Vec<[Option<CachedHeader>; WAYS]>,
}

struct CachedHeader {
    name: Vec<u8>,
    /// `None` for names that are not passed on.
    key: Option<Py<PyString>>,
    value: Vec<u8>,
    /// `value` as a `str`, from the first request on.
    text: Option<Py<PyString>>,
}

impl HeaderCache {
    pub(crate) fn new() -> Self {
        Self { buckets: std::iter::repeat_with(Default::default).take(BUCKETS).collect() }
    }

    /// Puts a header field into `environ`, which has none of its keys but by this function.
    pub(crate) fn insert(
        &mut self,
        environ: &Bound<'_, PyDict>,
        name: &[u8],
        value: &[u8],
    ) -> PyResult<()> {
        let py = environ.py();
        let Some(header) = self.entry(py, name) else {
            return match environ_key(name) {
                Some(key) => add(environ, &ffi::latin1(py, &key)?, &ffi::latin1(py, value)?),
                None => Ok(()),
            };
        };
        let Some(key) = &header.key else { return Ok(()) };
        let key = key.bind(py);
        match &header.text {
            Some(text) if header.value == value => add(environ, key, text.bind(py)),
            _ => {
                let text = ffi::latin1(py, value)?;
                add(environ, key, &text)?;
                if value.len() <= VALUE_LIMIT {
                    header.value.clear();
                    header.value.extend_from_slice(value);
                    header.text = Some(text.unbind());
                }
                Ok(())
            }
        }
    }

    /// The entry of `name`, made if there is none; `None` if the name is too long to be kept.
    fn entry(&mut self, py: Python<'_>, name: &[u8]) -> Option<&mut CachedHeader> {
        if name.len() > NAME_LIMIT {
            return None;
        }
        let bucket = self.buckets.get_mut(hash(name) % BUCKETS)?;
        let way = bucket.iter().position(|way| way.as_ref().is_none_or(|way| way.name == name));
        // In a full bucket the first gives way: whoever comes often is soon back.
        let place = bucket.get_mut(way.unwrap_or(0))?;
        if way.is_none() {
            *place = None;
        }
        Some(place.get_or_insert_with(|| CachedHeader::new(py, name)))
    }
}

impl CachedHeader {
    fn new(py: Python<'_>, name: &[u8]) -> Self {
        let key = environ_key(name);
        // Interned, so that a look-up with a literal key compares pointers.
        let key = key
            .and_then(|key| Some(PyString::intern(py, std::str::from_utf8(&key).ok()?).unbind()));
        Self { name: name.to_vec(), key, value: Vec::new(), text: None }
    }
}

/// Adds a field, joining its value to that of an earlier one of the same name.
fn add(
    environ: &Bound<'_, PyDict>,
    key: &Bound<'_, PyString>,
    text: &Bound<'_, PyString>,
) -> PyResult<()> {
    if ffi::insert_new(environ, key, text)? {
        return Ok(());
    }
    // A list (RFC 9110 §5.2). Cookies have another separator (RFC 6265 §5.4, RFC 9113 §8.2.3);
    // gunicorn joins them with a comma, too, and the cookie after it is lost.
    let separator = if key == "HTTP_COOKIE" { "; " } else { "," };
    match environ.get_item(key)? {
        Some(earlier) => environ.set_item(key, earlier.add(separator)?.add(text)?),
        None => Ok(()),
    }
}

/// The CGI variable of a header field (RFC 3875 §4.1.18); `None` for those that an application must
/// not see:
///
/// - names with an underscore, which would pass for their siblings with a hyphen, so that a client
///   could set what only a proxy may (gunicorn's `header_map = "drop"`);
/// - `Proxy`, which no client has a reason to send and which, as `HTTP_PROXY`, would redirect the
///   requests of programs that the application starts (CVE-2016-5385). gunicorn passes it on.
fn environ_key(name: &[u8]) -> Option<Vec<u8>> {
    if name.contains(&b'_') || name.eq_ignore_ascii_case(b"Proxy") {
        return None;
    }
    let mut key = Vec::with_capacity(PREFIX.len() + name.len());
    let is_bare = [&b"Content-Length"[..], b"Content-Type"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known));
    if !is_bare {
        key.extend_from_slice(PREFIX);
    }
    key.extend(name.iter().map(|byte| match byte {
        b'-' => b'_',
        other => other.to_ascii_uppercase(),
    }));
    Some(key)
}

/// Mixes length, beginning and end of a name: enough to spread the names that occur. Names chosen to
/// collide cost their sender's requests the cache, and others' at most a bucket.
fn hash(name: &[u8]) -> usize {
    let ends = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)
        }
        _ => name.iter().fold(0, |ends, byte| ends << 8 | u64::from(*byte)),
    };
    let mixed = ends.wrapping_add(name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The upper bits of a product depend on all lower ones.
    usize::try_from(mixed >> 56).unwrap_or_default()
}

const BUCKETS: usize = 64;
const WAYS: usize = 4;
/// The longest name that is kept, in bytes.
const NAME_LIMIT: usize = 64;
/// The longest value that is kept, in bytes.
const VALUE_LIMIT: usize = 1024;
const PREFIX: &[u8] = b"HTTP_";
