//! Waiting for what has no event of its own: processes and files.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long any single wait may last before its test fails. Shorter than the 30 s that `timeout` and
/// `graceful_timeout` are by default, or a test could pass because one of them was awaited.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer.
///
/// # Panics
///
/// When there is none within [`DEADLINE`]; `what` then tells what was waited for.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        sleep(PAUSE);
    }
}

/// Between two looks; short enough to cost a test nothing, long enough to leave the processor free.
const PAUSE: Duration = Duration::from_millis(5);
