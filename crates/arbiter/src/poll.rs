//! Sleeping until there is something to do.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Sleeps until one of the descriptors is readable, for `timeout` at the most, and tells which are,
/// in their order. It may wake early, for none.
pub(crate) fn wait_readable<'fd>(
    descriptors: impl IntoIterator<Item = BorrowedFd<'fd>>,
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let descriptors = descriptors.into_iter();
    let mut interests: Vec<PollFd<'_>> =
        descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)).collect();
    match poll(&mut interests, timeout.map_or(PollTimeout::NONE, round_up)) {
        // An end that was closed is readable too, and so is an error.
        Ok(_) => Ok(interests.iter().map(|interest| interest.any().unwrap_or(true)).collect()),
        Err(Errno::EINTR) => Ok(vec![false; interests.len()]),
        Err(error) => Err(error.into()),
    }
}

/// Rounded down, a deadline less than a millisecond away would be polled for in a loop. The
/// longest that poll(2) can wait is 24 days.
fn round_up(timeout: Duration) -> PollTimeout {
    let milliseconds = i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up() {
        for (timeout, milliseconds) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(5), 5),
            (Duration::from_micros(5001), 6),
            (Duration::MAX, i32::MAX),
        ] {
            assert_eq!(round_up(timeout).as_millis(), Some(milliseconds.unsigned_abs()));
        }
    }
}
