//! The response on its way from the application's thread to the task that polls it.
//!
//! Own code, because neither end of a ready-made channel fits: what is bounded are bytes and not
//! messages, small pieces join on the way, and the application's thread waits for room and for the
//! request body at the same condition, so that a client which goes away ends either.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};

/// A channel for one response.
pub(super) fn channel() -> (Sender, Receiver) {
    let shared = Arc::new(Shared::default());
    (Sender { shared: Arc::clone(&shared), staged: None, is_started: false }, Receiver { shared })
}

/// The head of a response, and what it says about the body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) extent: Extent,
}

/// How much body follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// As many bytes.
    Length(u64),
    /// None, whatever the head says: an answer to HEAD, 204 or 304 (RFC 9110 §6.4.1).
    Nothing,
    /// Until it ends.
    Unknown,
}

/// The application's end. Dropped before the response is complete, it fails it.
#[derive(Debug)]
pub(super) struct Sender {
    shared: Arc<Shared>,
    /// A head that goes out with the first of the body: one wake-up instead of two.
    staged: Option<Head>,
    /// The other end can see a head.
    is_started: bool,
}

impl Sender {
    /// Takes the head. It is kept until something of the body follows, unless nothing will.
    pub(super) fn stage(&mut self, head: Head) {
        let is_all = head.extent == Extent::Nothing;
        self.staged = Some(head);
        if is_all {
            self.publish(|_| ());
        }
    }

    /// Copies as much of `data` as there is room for, and returns how much that was.
    pub(super) fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.publish(|state| {
            if state.is_abandoned {
                return Err(abandoned());
            }
            let room = BUFFER_BYTES.saturating_sub(state.copied.len());
            if room == 0 {
                state.is_changed = false;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = data.get(..room).unwrap_or(data);
            state.copied.extend_from_slice(taken);
            Ok(taken.len())
        })
    }

    /// Takes the end of the body as it is. There is no limit: it is the application's own memory,
    /// and no more than it made before it returned.
    pub(super) fn send_rest(&mut self, data: Bytes) -> io::Result<()> {
        // Refused, it is let go of only after the lock.
        let mut data = Some(data);
        self.publish(|state| {
            if state.is_abandoned {
                return Err(abandoned());
            }
            state.rest.extend(data.take());
            Ok(())
        })
    }

    /// Ends the response as it should end.
    pub(super) fn complete(mut self) {
        self.publish(|state| state.end = Some(Ok(())));
    }

    /// Ends the response as an error: with this status if nothing of it was sent, otherwise in such
    /// a way that it does not look whole.
    pub(super) fn fail(mut self, status: StatusCode) {
        self.break_off(status);
    }

    /// Whether nobody waits for the response any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.shared.lock().is_abandoned
    }

    /// Begins a look at something that may call `waker()`: what it calls from now on ends a `wait`.
    pub(super) fn begin_look(&self) {
        self.shared.lock().is_changed = false;
    }

    /// Ends a look that found nothing, and says what to do then.
    pub(super) fn end_look(&self) -> io::Error {
        // Asked after the look: what was there is the application's, client or not, and what is left
        // to do after the last byte of a response may be to see that the request has ended.
        if self.is_abandoned() { abandoned() } else { io::ErrorKind::WouldBlock.into() }
    }

    /// Ends a `wait`.
    pub(super) fn waker(&self) -> Waker {
        Arc::clone(&self.shared).into()
    }

    /// Blocks until there is room again, the waker was called, or the other end is gone, since
    /// `send` or `begin_look` last looked.
    pub(super) fn wait(&self) {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_while(state, |state| !state.is_changed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn break_off(&mut self, status: StatusCode) {
        if !self.is_started {
            self.staged = Some(plain(status));
        }
        let cause = io::Error::other("the application failed before its response was complete");
        let end = if self.is_started { Err(cause) } else { Ok(()) };
        self.publish(|state| state.end = Some(end));
    }

    /// Shows the staged head and a change to the other end.
    fn publish<R>(&mut self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.shared.lock();
        if let Some(head) = self.staged.take() {
            state.head = Some(head);
            self.is_started = true;
        }
        let result = change(&mut state);
        let reader = state.reader.take();
        drop(state);
        // Not under the lock: an executor may poll at once.
        if let Some(reader) = reader {
            reader.wake();
        }
        result
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.shared.lock().end.is_none() {
            self.break_off(StatusCode::INTERNAL_SERVER_ERROR);
        }
    }
}

/// The end of the task that sends the response. Dropped, it abandons the response.
#[derive(Debug)]
pub(super) struct Receiver {
    shared: Arc<Shared>,
}

impl Receiver {
    /// The head, once.
    pub(super) fn poll_head(&self, context: &Context<'_>) -> Poll<Head> {
        let mut state = self.shared.lock();
        match state.head.take() {
            Some(head) => Poll::Ready(head),
            None => state.pending(context),
        }
    }

    /// The next piece of the body, its end, or an error in its place.
    pub(super) fn poll_data(&self, context: &Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut state = self.shared.lock();
        if !state.copied.is_empty() {
            let data = state.copied.split().freeze();
            // There is room again.
            state.is_changed = true;
            drop(state);
            self.shared.changed.notify_one();
            return Poll::Ready(Some(Ok(data)));
        }
        if let Some(data) = state.rest.pop_front() {
            return Poll::Ready(Some(Ok(data)));
        }
        match &mut state.end {
            // An error is told once, and there is nothing after it.
            Some(end) => Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err)),
            None => state.pending(context),
        }
    }

    /// Whether there is nothing more to come, and nothing went wrong.
    pub(super) fn is_complete(&self) -> bool {
        let state = self.shared.lock();
        state.copied.is_empty() && state.rest.is_empty() && matches!(state.end, Some(Ok(())))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let unsent = self.shared.signal(|state| {
            state.is_abandoned = true;
            (std::mem::take(&mut state.copied), std::mem::take(&mut state.rest))
        });
        // The application's own objects: not under the lock, Python may have more to do than free
        // them.
        drop(unsent);
    }
}

/// What both ends see. The lock is held for moments, and never while Python is attached or detached.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Awaits `State::is_changed`.
    changed: Condvar,
}

impl Shared {
    /// Changes the state and ends a `wait`.
    fn signal<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        state.is_changed = true;
        drop(state);
        self.changed.notify_one();
        result
    }

    /// A panic elsewhere cannot leave the state half changed: every change stands for itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.signal(|_| ());
    }
}

#[derive(Debug, Default)]
struct State {
    /// Not yet taken.
    head: Option<Head>,
    /// Pieces of the body, joined; at most `BUFFER_BYTES`.
    copied: BytesMut,
    /// What follows `copied`; empty until the application has given all of the body.
    rest: VecDeque<Bytes>,
    /// How the body ends after that, once it does.
    end: Option<io::Result<()>>,
    /// The task that waits for one of the above.
    reader: Option<Waker>,
    /// The other end is gone; nothing in here matters any more.
    is_abandoned: bool,
    /// Something happened that the application's thread may wait for.
    is_changed: bool,
}

impl State {
    fn pending<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        match &mut self.reader {
            Some(reader) => reader.clone_from(context.waker()),
            reader => *reader = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

fn abandoned() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the client is gone")
}

/// A response without the application.
fn plain(status: StatusCode) -> Head {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Head { response, extent: Extent::Length(0) }
}

/// How much of a response waits for its client before the application does.
const BUFFER_BYTES: usize = 128 * 1024;
