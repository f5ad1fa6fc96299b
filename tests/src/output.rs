//! What a process has said, line by line.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use crate::wait::DEADLINE;

/// The lines of one stream of a process, collected by a thread while the process runs.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    /// Nobody holds the other end any more: the process and all that it started are gone.
    ended: bool,
}

impl Output {
    pub(crate) fn collect(stream: impl Read + Send + 'static) -> Self {
        let output = Self { shared: Arc::default() };
        let collector = output.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches('\n').to_owned();
                collector.update(|lines| lines.lines.push(text));
                line.clear();
            }
            collector.update(|lines| lines.ended = true);
        });
        output
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Waits until `count` lines hold `needle`, and returns the last of these.
    pub(crate) fn wait_for(&self, needle: &str, count: usize) -> String {
        assert!(count > 0, "nothing to wait for");
        self.wait(&format!("{count} line(s) with {needle:?}"), |lines| {
            let mut found = lines.lines.iter().filter(|line| line.contains(needle));
            found.nth(count - 1).cloned()
        })
    }

    /// Waits until every process that could still write here is gone.
    pub(crate) fn wait_for_end(&self) -> Vec<String> {
        self.wait("the last writer's end", |lines| lines.ended.then(|| lines.lines.clone()))
    }

    fn wait<T>(&self, what: &str, found: impl Fn(&Lines) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut lines = self.lock();
        loop {
            if let Some(answer) = found(&lines) {
                return answer;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !lines.ended,
                "waited in vain for {what} in:\n{}",
                lines.lines.join("\n")
            );
            lines = self.shared.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    fn update(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lock());
        self.shared.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // A failed assertion in `wait` poisons the lock; what it guards is whole nevertheless.
        self.shared.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
