//! The response as tower and its servers see it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::channel::{Extent, Receiver};

/// Waits until the application's response begins. Dropped before, it takes the request back as far
/// as that is possible: see [`WsgiService`](crate::WsgiService).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    /// `None` once the response has it.
    receiver: Option<Receiver>,
}

impl ResponseFuture {
    pub(super) fn new(receiver: Receiver) -> Self {
        Self { receiver: Some(receiver) }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<WsgiBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Polled after its end, a future may do anything but harm.
        let Some(receiver) = self.receiver.take() else { return Poll::Pending };
        match receiver.poll_head(context) {
            Poll::Ready(head) => {
                let extent = head.extent;
                Poll::Ready(Ok(head.response.map(|()| WsgiBody { extent, receiver })))
            }
            Poll::Pending => {
                self.receiver = Some(receiver);
                Poll::Pending
            }
        }
    }
}

/// The body of an application's response: pieces as the application makes them, no trailers.
///
/// It ends with an [`io::Error`] if the application failed in the midst of it.
#[derive(Debug)]
pub struct WsgiBody {
    /// What is still to come.
    extent: Extent,
    receiver: Receiver,
}

impl Body for WsgiBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.extent == Extent::Nothing {
            return Poll::Ready(None);
        }
        let data = ready!(self.receiver.poll_data(context));
        if let (Some(Ok(data)), Extent::Length(left)) = (&data, &mut self.extent) {
            *left = left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.extent == Extent::Nothing || self.receiver.is_complete()
    }

    fn size_hint(&self) -> SizeHint {
        match self.extent {
            Extent::Length(left) => SizeHint::with_exact(left),
            // For `Nothing`, too: a server would make a length of it for the head, where 204 may have
            // none and HEAD has that of another body (RFC 9110 §8.6).
            Extent::Nothing | Extent::Unknown => SizeHint::default(),
        }
    }
}
