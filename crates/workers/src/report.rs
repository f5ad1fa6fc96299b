//! What a worker is doing, in words for its log: whenever an operator asks, and before it is ended.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::pthread::pthread_self;
use rgunicorn_arbiter::Moment;

use crate::handler::{Handler, Stack};
use crate::scoreboard::{RunningRequest, Scoreboard};
use crate::server::spawn_quietly;

/// Makes reports one after the other, on a thread that lives as long as there is something to
/// report: to look at the stacks may take a second, which neither who leads nor the monitor has.
///
/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Reporter {
    inner: Arc<Inner>,
}

struct Inner {
    board: Scoreboard,
    handler: Arc<dyn Handler>,
    /// Which thread has which number among the application's; 0 before it runs.
    idents: Box<[AtomicU64]>,
    /// Of how many of them the scoreboard can tell what they are doing.
    known: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// A thread makes reports, and looks here before it ends.
    is_attended: bool,
    /// Each occasion once, however often it is asked: there are but few.
    inquiries: VecDeque<Inquiry>,
}

/// Why there is a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Occasion {
    /// An operator wants to know.
    Asked,
    /// The worker gives no sign of life, and is about to be ended by a timeout of this length.
    Silent { timeout: Duration },
}

#[derive(Debug)]
struct Inquiry {
    occasion: Occasion,
    running: Vec<RunningRequest>,
}

/// Requests and the threads that have them, then the threads that are none of ours. An application
/// thread without a request has nothing to tell.
struct Report<'a> {
    inquiry: &'a Inquiry,
    idents: &'a [AtomicU64],
    stacks: &'a io::Result<Vec<Stack>>,
}

impl Reporter {
    /// Reports of so many application threads.
    pub(crate) fn new(board: Scoreboard, handler: Arc<dyn Handler>, threads: usize) -> Self {
        let idents = (0..threads).map(|_| AtomicU64::new(0)).collect();
        let known = (0..threads).filter(|thread| board.has_room_for(*thread)).count();
        let queue = Mutex::default();
        Self { inner: Arc::new(Inner { board, handler, idents, known, queue }) }
    }

    /// The calling thread is the application thread of this number.
    pub(crate) fn enroll(&self, thread: usize) {
        if let Some(ident) = self.inner.idents.get(thread) {
            #[allow(clippy::unnecessary_cast, reason = "not everywhere is it 64 bits wide")]
            ident.store(pthread_self() as u64, Ordering::Relaxed);
        }
    }

    /// Where this application thread is, if it says so. It may take a second.
    pub(crate) fn stack_of(&self, thread: usize) -> Option<String> {
        let ident = self.inner.idents.get(thread)?.load(Ordering::Relaxed);
        match self.inner.handler.stacks() {
            Ok(stacks) => stacks.into_iter().find(|it| it.thread == ident).map(|it| it.text),
            Err(error) => Some(format!("Its stack cannot be had: {error}")),
        }
    }

    /// Reports what runs at this moment, soon. It does not wait, and does nothing if the same report
    /// has not even begun.
    pub(crate) fn report(&self, occasion: Occasion) {
        let inner = &*self.inner;
        let mut queue = inner.queue();
        if queue.inquiries.iter().any(|inquiry| inquiry.occasion == occasion) {
            return;
        }
        let running = inner.board.running(Moment::now());
        queue.inquiries.push_back(Inquiry { occasion, running });
        if queue.is_attended {
            return;
        }
        let inner = Arc::clone(&self.inner);
        match spawn_quietly("report", move || inner.attend()) {
            Ok(_) => queue.is_attended = true,
            Err(error) => {
                log::error!("no thread is left for a report: {error}");
                queue.inquiries.clear();
            }
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("queue", &self.inner.queue()).finish_non_exhaustive()
    }
}

impl Inner {
    /// Until nothing is left to report.
    fn attend(&self) {
        while let Some(inquiry) = self.next() {
            let stacks = self.handler.stacks();
            let known = self.idents.get(..self.known).unwrap_or_default();
            let report = Report { inquiry: &inquiry, idents: known, stacks: &stacks };
            match inquiry.occasion {
                Occasion::Asked => log::info!("{report}"),
                Occasion::Silent { .. } => log::error!("{report}"),
            }
        }
    }

    fn next(&self) -> Option<Inquiry> {
        let mut queue = self.queue();
        let next = queue.inquiries.pop_front();
        queue.is_attended = next.is_some();
        next
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = &self.inquiry.running;
        match self.inquiry.occasion {
            Occasion::Asked => f.write_str("Report, as asked: ")?,
            Occasion::Silent { timeout } => {
                let seconds = timeout.as_secs_f64();
                write!(f, "No sign of life, and the timeout is {seconds} s: ")?;
            }
        }
        match running.len() {
            // Without room for the scoreboard, or for all threads in it, more may run.
            0 => f.write_str("no request is known to run"),
            1 => f.write_str("1 request is running"),
            requests => write!(f, "{requests} requests are running"),
        }?;
        let stacks = match self.stacks {
            Ok(stacks) => stacks.as_slice(),
            Err(error) => {
                write!(f, "; stacks cannot be had: {error}")?;
                &[]
            }
        };
        for request in running {
            write!(f, "\n{request}")?;
            let has = |stack: &&Stack| self.number(stack) == Some(request.thread);
            stacks.iter().find(has).map_or(Ok(()), |stack| write!(f, "\n{}", stack.text))?;
        }
        let others = || stacks.iter().filter(|stack| self.number(stack).is_none());
        if !running.is_empty() && others().next().is_some() {
            f.write_str("\nOther threads:")?;
        }
        others().try_for_each(|stack| write!(f, "\n{}", stack.text))
    }
}

impl Report<'_> {
    /// Which of the application threads this is.
    fn number(&self, stack: &Stack) -> Option<usize> {
        self.idents.iter().position(|ident| ident.load(Ordering::Relaxed) == stack.thread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(
        occasion: Occasion,
        running: &[RunningRequest],
        stacks: &io::Result<Vec<Stack>>,
    ) -> String {
        let inquiry = Inquiry { occasion, running: running.to_vec() };
        let idents = [11, 12, 0].map(AtomicU64::new);
        Report { inquiry: &inquiry, idents: &idents, stacks }.to_string()
    }

    fn request(thread: usize) -> RunningRequest {
        RunningRequest {
            age: Duration::from_millis(3210),
            is_cut: false,
            line: b"GET /a\nb".to_vec(),
            peer: None,
            thread,
        }
    }

    #[test]
    fn each_request_stands_before_its_stack() {
        let stacks = Ok([11, 12, 13].map(|thread| Stack::new(thread, format!("S{thread}"))).into());
        let head = "Report, as asked: ";
        let line = "GET /a\\nb from a Unix socket, running for 3.2 s";
        for (running, expected) in [
            (&[][..], "no request is known to run\nS13".to_owned()),
            (&[request(1)], format!("1 request is running\n{line}\nS12\nOther threads:\nS13")),
            (
                &[request(0), request(2)],
                format!("2 requests are running\n{line}\nS11\n{line}\nOther threads:\nS13"),
            ),
        ] {
            assert_eq!(report(Occasion::Asked, running, &stacks), format!("{head}{expected}"));
        }
        assert_eq!(
            report(Occasion::Asked, &[], &Ok(Vec::new())),
            format!("{head}no request is known to run")
        );
    }

    #[test]
    fn without_stacks_there_are_still_requests() {
        let occasion = Occasion::Silent { timeout: Duration::from_secs(30) };
        let text = report(occasion, &[request(0)], &Err(io::Error::other("the reason")));
        let expected = "No sign of life, and the timeout is 30 s: 1 request is running; stacks cannot be \
                        had: the reason\nGET /a\\nb from a Unix socket, running for 3.2 s";
        assert_eq!(text, expected);
    }
}
