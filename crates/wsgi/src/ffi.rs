//! The few raw C-API calls of the hot path, behind safe functions. The crate's only unsafe code.

#![expect(unsafe_code, reason = "what PyO3 has no equally quick safe function for")]

use std::os::fd::BorrowedFd;

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::string::PyStringData;
use pyo3::types::{PyDict, PyString, PyStringMethods};

/// Decodes bytes as latin-1, the encoding of PEP 3333's "bytes-as-unicode" strings, in one pass
/// and without going through UTF-8.
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // A slice never has more than isize::MAX bytes.
    let len = ffi::Py_ssize_t::try_from(bytes.len())
        .map_err(|_| PyMemoryError::new_err("string too long"))?;
    // SAFETY: attached (`py`); pointer and length are those of a live slice; null errors mean
    // "strict", and latin-1 decodes every byte.
    let object =
        unsafe { ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), len, std::ptr::null()) };
    // SAFETY: attached; the function returns a new reference, or null with an exception set.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
    Ok(object.cast_into::<PyString>()?)
}

/// The latin-1 bytes of a `str`, without a copy; `None` if it has characters beyond U+00FF.
pub(crate) fn latin1_bytes<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Option<&'a [u8]>> {
    // SAFETY: a `str` never changes once it is ready and this borrow keeps it alive; the
    // representation of 1-byte strings, all that is used here, has no byte order.
    let data = unsafe { text.data() }?;
    Ok(match data {
        PyStringData::Ucs1(bytes) => Some(bytes),
        // CPython always stores the narrowest kind, so these need a wider character.
        PyStringData::Ucs2(_) | PyStringData::Ucs4(_) => None,
    })
}

/// `dict.setdefault(key, value)` in one look-up: true if the key was new.
pub(crate) fn insert_new(
    dict: &Bound<'_, PyDict>,
    key: &Bound<'_, PyString>,
    value: &Bound<'_, PyString>,
) -> PyResult<bool> {
    let before = dict.len();
    // SAFETY: attached (the `Bound`s prove it); all three are live objects, the first a dict.
    let found = unsafe { ffi::PyDict_SetDefault(dict.as_ptr(), key.as_ptr(), value.as_ptr()) };
    if found.is_null() {
        return Err(PyErr::fetch(dict.py()));
    }
    Ok(dict.len() > before)
}

/// How many references there are to an object. 1 means that the caller has the only one, and that
/// nobody else can make another.
pub(crate) fn reference_count(object: &Bound<'_, PyAny>) -> isize {
    // SAFETY: attached (the `Bound` proves it); a live object.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

/// Borrows the descriptor that `fileno()` of a Python file returned, while that file is alive.
///
/// `None` for a negative number, as a closed or detached file may return.
pub(crate) fn borrow_fd<'a>(fileno: i32, _file: &'a Bound<'_, PyAny>) -> Option<BorrowedFd<'a>> {
    if fileno < 0 {
        return None;
    }
    // SAFETY: not -1; the file object owns the descriptor and is borrowed for as long. A program
    // that closes it meanwhile gets EBADF from the kernel, as it would in Python.
    Some(unsafe { BorrowedFd::borrow_raw(fileno) })
}
