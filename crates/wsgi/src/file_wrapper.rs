//! `wsgi.file_wrapper`: a file as a response body, sent by the kernel where possible.

use std::fs::File;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use pyo3::intern;
use pyo3::prelude::*;

use crate::ffi;

/// PEP 3333, "Optional Platform-Specific File Handling".
///
/// An application that returns exactly this object gets its file sent without passing through
/// Python; wrapped in middleware it is an ordinary iterable.
#[pyclass(frozen, module = "rgunicorn")]
pub(crate) struct FileWrapper {
    #[pyo3(get)]
    filelike: Py<PyAny>,
    #[pyo3(get)]
    blksize: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize = 8192))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> Self {
        Self { filelike, blksize }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let read = intern!(py, "read");
        let block = self.filelike.bind(py).call_method1(read, (self.blksize,))?;
        Ok(if block.is_truthy()? { Some(block) } else { None })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.filelike.bind(py).getattr_opt(intern!(py, "close"))? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}

impl FileWrapper {
    pub(crate) fn file<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.filelike.bind(py).clone()
    }
}

/// The descriptor behind a Python file and the range from its position to its end, if sending them
/// gives the same bytes as reading would: the file is regular, and of one of the classes of `io`
/// that hand out a file's bytes unchanged.
///
/// Many other objects have a `fileno()` as well; that of a `gzip.GzipFile`, for one, is the
/// compressed file's.
pub(crate) fn plain_file<'a>(file: &'a Bound<'_, PyAny>) -> Option<(BorrowedFd<'a>, Range<u64>)> {
    let py = file.py();
    let io = py.import(intern!(py, "io")).ok()?;
    let is = |object: &Bound<'_, PyAny>, class| {
        io.getattr(class).is_ok_and(|class| object.get_type().is(&class))
    };
    let unbuffered = intern!(py, "FileIO");
    let buffered = [intern!(py, "BufferedReader"), intern!(py, "BufferedRandom")];
    let plain = is(file, unbuffered)
        || buffered.into_iter().any(|class| is(file, class))
            && file.getattr(intern!(py, "raw")).is_ok_and(|raw| is(&raw, unbuffered));
    if !plain {
        return None;
    }
    // The position of the Python object: that of the descriptor is ahead of it by what is buffered.
    let start = file.call_method0(intern!(py, "tell")).ok()?.extract().ok()?;
    let fileno = file.call_method0(intern!(py, "fileno")).ok()?.extract().ok()?;
    let descriptor = ffi::borrow_fd(fileno, file)?;
    let metadata = File::from(descriptor.try_clone_to_owned().ok()?).metadata().ok()?;
    (metadata.is_file() && start <= metadata.len()).then_some((descriptor, start..metadata.len()))
}
