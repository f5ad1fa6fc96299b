//! Request body and response, as the application drives them.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body;

use super::channel::{Extent, Head, Sender};
use crate::exchange::Exchange;
use crate::response_head::ResponseHead;

/// Between an asynchronous server and a blocking application.
pub(super) struct Bridge<B: Body> {
    sender: Sender,
    input: Input<B>,
    /// The request's method was HEAD.
    head_only: bool,
}

/// How far the request body is read.
enum Input<B: Body> {
    /// The rest of the last piece, and where the next one comes from.
    Open(Option<B::Data>, Pin<Box<B>>),
    /// It broke. A body that is not whole never looks whole, so this does not end.
    Broken,
    Ended,
}

impl<B: Body> Bridge<B> {
    pub(super) fn new(sender: Sender, body: B, head_only: bool) -> Self {
        Self { sender, input: Input::Open(None, Box::pin(body)), head_only }
    }

    /// The request is answered: lets go of its body.
    pub(super) fn into_sender(self) -> Sender {
        self.sender
    }
}

impl<B> Exchange for Bridge<B>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Polls the body in this thread. A task in between would have to run ahead of the application
    /// by some buffer, and to be spawned, which is all that would need a runtime here.
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let (data, body) = match &mut self.input {
                Input::Open(data, body) => (data, body.as_mut()),
                Input::Broken => return Err(io::Error::other("the request body is broken")),
                Input::Ended => return Ok(0),
            };
            if let Some(data) = data.as_mut().filter(|data| Buf::has_remaining(*data)) {
                let count = data.remaining().min(buffer.len());
                data.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
                return Ok(count);
            }
            *data = None;
            self.sender.begin_look();
            match body.poll_frame(&mut Context::from_waker(&self.sender.waker())) {
                // Trailers have no place in WSGI.
                Poll::Ready(Some(Ok(frame))) => *data = frame.into_data().ok(),
                Poll::Ready(Some(Err(error))) => {
                    self.input = Input::Broken;
                    return Err(io::Error::other(error));
                }
                Poll::Ready(None) => self.input = Input::Ended,
                Poll::Pending => return Err(self.sender.end_look()),
            }
        }
    }

    fn send_head(&mut self, head: &ResponseHead<'_>) -> io::Result<()> {
        self.sender.stage(translate(head, self.head_only)?);
        Ok(())
    }

    fn send_data(&mut self, data: &[u8]) -> io::Result<usize> {
        self.sender.send(data)
    }

    fn send_rest(&mut self, data: Bytes) -> io::Result<()> {
        self.sender.send_rest(data)
    }

    fn wait(&mut self) -> io::Result<()> {
        self.sender.wait();
        Ok(())
    }
}

/// The same head in the types of `http`.
fn translate(head: &ResponseHead<'_>, head_only: bool) -> io::Result<Head> {
    let status = StatusCode::from_u16(head.status).map_err(invalid)?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    let fields = response.headers_mut();
    for &(name, value) in head.headers {
        let name = HeaderName::from_bytes(name).map_err(invalid)?;
        let value = HeaderValue::from_bytes(value).map_err(invalid)?;
        fields.try_append(name, value).map_err(invalid)?;
    }
    if let Some(length) = head.length {
        fields.try_insert(header::CONTENT_LENGTH, length.into()).map_err(invalid)?;
    }
    let is_bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let extent = if head_only || is_bodiless {
        Extent::Nothing
    } else {
        let length = fields.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        length.and_then(|length| length.parse().ok()).map_or(Extent::Unknown, Extent::Length)
    };
    Ok(Head { response, extent })
}

/// Legal by the rules of HTTP, but too much for `http`, whose names and counts have limits.
fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
