//! The seam between an application and whatever carries its bytes.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use bytes::Bytes;

use crate::ResponseHead;

/// One request and its response, as the application drives it.
///
/// Implement this to run WSGI applications on a transport of your own. The calls come in this
/// order: `read_body` at any time; `send_head` exactly once, unless the application fails before;
/// then `send_data`, `send_file` and `send_rest` for the body.
///
/// Nothing but [`wait`](Self::wait) and [`send_rest`](Self::send_rest) may block, because everything
/// else is called while the thread is attached to the Python interpreter and would hold up all its
/// other threads. An operation that cannot go on returns [`io::ErrorKind::WouldBlock`]; `wait` is
/// called then, and the operation again. Any other error is an `OSError` for the application, if it was
/// the application that read or wrote, and ends the call with
/// [`AppError::Disconnected`](crate::AppError::Disconnected), or with
/// [`AppError::BadBody`](crate::AppError::BadBody) while nothing is sent, unless the application
/// handles it.
///
/// An exchange that blocks in its operations is correct, only not kind to other Python threads.
///
/// ```
/// use std::io::{self, Read, Write};
/// use rgunicorn_wsgi::{Exchange, ResponseHead};
///
/// /// A request body and a response in memory, as a CGI program has them.
/// struct Cgi<R, W> { body: R, response: W }
///
/// impl<R: Read + Send, W: Write + Send> Exchange for Cgi<R, W> {
///     fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
///         self.body.read(buffer)
///     }
///     fn send_head(&mut self, head: &ResponseHead<'_>) -> io::Result<()> {
///         write!(self.response, "Status: {} ", head.status)?;
///         self.response.write_all(head.reason)?;
///         for (name, value) in head.headers {
///             self.response.write_all(&[b"\r\n", *name, b": ", *value].concat())?;
///         }
///         self.response.write_all(b"\r\n\r\n")
///     }
///     fn send_data(&mut self, data: &[u8]) -> io::Result<usize> {
///         self.response.write(data)
///     }
///     fn wait(&mut self) -> io::Result<()> {
///         Ok(())
///     }
/// }
/// ```
pub trait Exchange: Send {
    /// Reads some of the request body into `buffer`; 0 means that the body is complete.
    ///
    /// # Errors
    /// `WouldBlock` if more will come; anything else if the body is malformed or the peer is gone.
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// How many of the next `limit` bytes [`read_body`](Self::read_body) will give, if that is known:
    /// then they go straight into the object that the application gets, which is made so large
    /// before they are there. Whoever only has a peer's word for them should promise few.
    fn read_size(&self, limit: usize) -> Option<usize> {
        let _ = limit;
        None
    }

    /// Takes the head of the response. It may be kept back until the first piece of the body, or
    /// until the exchange is finished by its owner, so that both go out together.
    ///
    /// # Errors
    /// When the head cannot be sent; `WouldBlock` is not expected here.
    fn send_head(&mut self, head: &ResponseHead<'_>) -> io::Result<()>;

    /// Sends some of `data`, which is never empty, and returns how many bytes were taken.
    ///
    /// # Errors
    /// `WouldBlock` if nothing can be taken now; anything else if the peer is gone.
    fn send_data(&mut self, data: &[u8]) -> io::Result<usize>;

    /// Takes the end of the body by value, so that it can be sent after the application returned.
    ///
    /// It is called, detached from Python, with what `send_data` did not take of a piece when all
    /// that follows is known too, and then with each piece that follows. The memory stays that of
    /// the application's `bytes` objects.
    ///
    /// # Errors
    /// When the peer is gone.
    fn send_rest(&mut self, data: Bytes) -> io::Result<()> {
        let mut left = data.as_ref();
        while !left.is_empty() {
            match self.send_data(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => left = left.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.wait() {
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                    Ok(()) | Err(_) => {}
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends some of the bytes `range` of a regular file, which is never empty, and returns how
    /// many were taken; 0 means that the file ended early.
    ///
    /// An implementation may take all of it and send later from a duplicate of the descriptor.
    ///
    /// # Errors
    /// `Unsupported`, as the default does, if this exchange has no quick way to send a file: it is
    /// read and sent as data then. `WouldBlock` if nothing can be taken now; anything else if the
    /// peer is gone.
    fn send_file(&mut self, file: BorrowedFd<'_>, range: Range<u64>) -> io::Result<u64> {
        let _ = (file, range);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Blocks until the operation that last returned `WouldBlock` can go on. Called detached from
    /// Python.
    ///
    /// # Errors
    /// `Interrupted` if a signal came: Python's signal handlers run then, and unless one of them
    /// raises the operation is tried again. Anything else when the peer is gone or took too long.
    fn wait(&mut self) -> io::Result<()>;
}
