//! What others see of a worker: its siblings, before they send it work, and the arbiter, after it
//! has died.
//!
//! All of it lies in the words that the arbiter shares with its workers, as relaxed stores of whoever
//! knows it. The first cache line is the worker's, two more are each application thread's:
//!
//! | word | of a worker | of a thread |
//! |---|---|---|
//! | 0 | [`State`] | milliseconds of the monotonic clock at the request's start, 0 without one; below them 20 bits that count requests |
//! | 1 | open connections | the client's address as IPv6, bytes 0 to 7 |
//! | 2 | requests handled | bytes 8 to 15 |
//! | 3 | | port, whether there is an address, length of the text, whether it was cut |
//! | 4 to 15 | | method and target |

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use rgunicorn_arbiter::{Moment, Options, Words, WorkerId};

/// The part of a worker in the memory that all workers share.
///
/// Programs need it for two things: to make room for it, and to see what a worker was doing that
/// has died. The worker itself does the rest.
///
/// ```
/// use rgunicorn_workers::Scoreboard;
///
/// let options = rgunicorn_arbiter::Options::new(2);
/// let threads = 4;
/// let options = options.words_per_worker(Scoreboard::words_per_worker(threads));
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct Scoreboard<W = Words> {
    words: W,
}

/// What a worker is at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Not ready yet; words are 0 at the start.
    Booting,
    /// An application thread runs the application, and another or the monitor leads.
    Busy,
    /// It gives its connections away, and takes none.
    Draining,
    /// It waits for something to do.
    Idle,
    /// All of its application threads have been busy for long.
    Stuck,
}

/// A request that a worker is answering, as far as its scoreboard tells.
///
/// `Display` says it in one line, with everything escaped that is not printable ASCII:
/// `GET /path from 10.0.0.1:1234, running for 3.2 s`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RunningRequest {
    /// The time since it began.
    pub age: Duration,
    /// Whether `line` is only the beginning.
    pub is_cut: bool,
    /// Method, a space and the target.
    pub line: Vec<u8>,
    /// The client; `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Which of the worker's application threads has it, from 0.
    pub thread: usize,
}

/// Words of a thread.
type Row = [AtomicU64; ROW];

/// Words of the worker itself: a cache line.
const HEADER: usize = 8;
const ROW: usize = 16;
/// Bytes of method and target that fit.
const TEXT_LIMIT: usize = 8 * (ROW - 4);
/// Bits of the first word of a row that count requests. With the milliseconds alone, a request
/// could be taken for another that began in the same one.
const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

impl Scoreboard {
    /// How many words it takes, for [`Options::words_per_worker`]. The requests of more than 255
    /// threads would not fit, so that some are not seen.
    pub const fn words_per_worker(threads: usize) -> usize {
        let words = threads.saturating_mul(ROW).saturating_add(HEADER);
        if words < Options::WORDS_MAX { words } else { Options::WORDS_MAX }
    }

    /// The requests that a worker is answering at this moment, or was when it died, by its words.
    /// A request that comes or goes while this looks is left out.
    ///
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use rgunicorn_arbiter::Moment;
    /// use rgunicorn_workers::Scoreboard;
    ///
    /// let words: Vec<AtomicU64> =
    ///     (0..Scoreboard::words_per_worker(4)).map(|_| AtomicU64::new(0)).collect();
    /// assert!(Scoreboard::read(&words, Moment::now()).is_empty());
    /// ```
    pub fn read(words: &[AtomicU64], now: Moment) -> Vec<RunningRequest> {
        let rows = words.get(HEADER..).unwrap_or_default().chunks_exact(ROW);
        let rows = rows.filter_map(<[AtomicU64]>::first_chunk);
        rows.enumerate().filter_map(|(thread, row)| running(thread, row, now)).collect()
    }

    /// What the other workers are at.
    pub(crate) fn siblings(&self) -> impl Iterator<Item = State> {
        others(self.words.all().map(|(_, words)| words), &self.words)
    }

    /// Whether a sibling has had nothing to do since the last call: it was idle then, and has
    /// handled no request meanwhile. `seen` is what the last call saw.
    pub(crate) fn has_rested(&self, seen: &mut Vec<(WorkerId, u64)>) -> bool {
        let others = self.words.all().filter(|(_, words)| !ptr::eq(*words, self.words.as_ref()));
        let idle = others.filter(|(_, words)| State::of(words) == State::Idle);
        let handled =
            |words: &[AtomicU64]| words.get(2).map_or(0, |word| word.load(Ordering::Relaxed));
        let idle: Vec<_> = idle.map(|(worker, words)| (worker, handled(words))).collect();
        let has_rested = idle.iter().any(|worker| seen.contains(worker));
        *seen = idle;
        has_rested
    }

    /// Whether there will be workers when those of the present have ended.
    pub(crate) fn service_goes_on(&self) -> bool {
        self.words.service_goes_on()
    }

    /// Is another worker in this state? It costs one cache line for each.
    pub(crate) fn any_sibling(&self, state: State) -> bool {
        self.siblings().any(|other| other == state)
    }
}

impl<W: Deref<Target = [AtomicU64]>> Scoreboard<W> {
    /// The scoreboard of the worker to which these words belong.
    pub(crate) fn new(words: W) -> Self {
        Self { words }
    }

    pub(crate) fn set_state(&self, state: State) {
        self.set(0, state as u64);
    }

    pub(crate) fn set_connections(&self, open: usize) {
        self.set(1, open as u64);
    }

    pub(crate) fn set_requests(&self, handled: u64) {
        self.set(2, handled);
    }

    /// Whether the requests of this thread can be seen.
    pub(crate) fn has_room_for(&self, thread: usize) -> bool {
        self.row(thread).is_some()
    }

    /// This thread, and no other under its number, begins to answer a request. With `end` it costs
    /// 10 ns.
    pub(crate) fn begin(
        &self,
        thread: usize,
        method: &str,
        target: &[u8],
        peer: Option<SocketAddr>,
        now: Moment,
    ) {
        let Some([start, address_high, address_low, about, text @ ..]) = self.row(thread) else {
            return;
        };
        let mut bytes = [0; TEXT_LIMIT];
        let length = write(&mut bytes, [method.as_bytes(), b" ", target]);
        let is_cut = length < method.len() + 1 + target.len();
        let (address, port, has_peer) = match peer {
            Some(peer) => (mapped(peer.ip()).to_bits(), peer.port(), true),
            None => (0, 0, false),
        };
        // What was there is over: whoever sees one of these stores and then looks again at the
        // first word sees `end` there, or this request.
        fence(Ordering::Release);
        address_high.store((address >> 64) as u64, Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        address_low.store(address as u64, Ordering::Relaxed);
        let about_request = u64::from(port)
            | u64::from(has_peer) << 16
            | u64::from(is_cut) << 17
            | (length as u64) << 32;
        about.store(about_request, Ordering::Relaxed);
        let (words, _) = bytes.split_at(length.next_multiple_of(8).min(TEXT_LIMIT));
        for (word, bytes) in text.iter().zip(words.chunks_exact(8)) {
            let bytes = bytes.first_chunk().copied().unwrap_or_default();
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
        let count = start.load(Ordering::Relaxed).wrapping_add(1) & COUNT;
        start.store(now.as_millis().max(1) << COUNT_BITS | count, Ordering::Release);
    }

    /// The request of this thread is answered.
    pub(crate) fn end(&self, thread: usize) {
        let Some([start, ..]) = self.row(thread) else { return };
        start.store(start.load(Ordering::Relaxed) & COUNT, Ordering::Relaxed);
    }

    /// The requests of this worker.
    pub(crate) fn running(&self, now: Moment) -> Vec<RunningRequest> {
        Scoreboard::read(&self.words, now)
    }

    fn set(&self, index: usize, value: u64) {
        if let Some(word) = self.words.get(index) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn row(&self, thread: usize) -> Option<&Row> {
        let first = thread.checked_mul(ROW)?.checked_add(HEADER)?;
        self.words.get(first..)?.first_chunk()
    }
}

impl State {
    fn of(words: &[AtomicU64]) -> Self {
        let word = words.first().map_or(0, |word| word.load(Ordering::Relaxed));
        [Self::Busy, Self::Draining, Self::Idle, Self::Stuck]
            .into_iter()
            .find(|state| *state as u64 == word)
            .unwrap_or(Self::Booting)
    }
}

impl fmt::Display for RunningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ellipsis = if self.is_cut { "…" } else { "" };
        write!(f, "{}{ellipsis} from ", self.line.escape_ascii())?;
        match self.peer {
            Some(peer) => write!(f, "{peer}")?,
            None => f.write_str("a Unix socket")?,
        }
        write!(f, ", running for {:.1} s", self.age.as_secs_f64())
    }
}

/// What these workers are at, but for the one whose own words are `own`.
fn others<'a>(
    workers: impl Iterator<Item = &'a [AtomicU64]>,
    own: &[AtomicU64],
) -> impl Iterator<Item = State> {
    workers.filter(|words| !ptr::eq(*words, own)).map(State::of)
}

/// What stands in a row, if all of it belongs to one request.
fn running(thread: usize, row: &Row, now: Moment) -> Option<RunningRequest> {
    let [start, address_high, address_low, about, text @ ..] = row;
    let begun = start.load(Ordering::Acquire);
    if begun & !COUNT == 0 {
        return None;
    }
    let address = u128::from(address_high.load(Ordering::Relaxed)) << 64
        | u128::from(address_low.load(Ordering::Relaxed));
    let about = about.load(Ordering::Relaxed);
    let mut line: Vec<u8> =
        text.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
    // Everything was read before the second look at the first word.
    fence(Ordering::Acquire);
    if start.load(Ordering::Relaxed) != begun {
        return None;
    }
    line.truncate(usize::try_from(about >> 32).unwrap_or(usize::MAX));
    let [port_low, port_high, ..] = about.to_le_bytes();
    let port = u16::from_le_bytes([port_low, port_high]);
    let ip = Ipv6Addr::from_bits(address).to_canonical();
    Some(RunningRequest {
        age: now.saturating_since(Moment::from_millis(begun >> COUNT_BITS)),
        is_cut: about & 1 << 17 != 0,
        line,
        peer: (about & 1 << 16 != 0).then_some(SocketAddr::new(ip, port)),
        thread,
    })
}

/// Every address as IPv6; an IPv4 one comes back as such by `to_canonical`.
fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Writes the parts one after the other, as far as there is room, and returns how much that was.
fn write(mut room: &mut [u8], parts: [&[u8]; 3]) -> usize {
    let whole = room.len();
    for part in parts {
        let length = part.len().min(room.len());
        let (place, rest) = std::mem::take(&mut room).split_at_mut(length);
        place.copy_from_slice(part.get(..length).unwrap_or_default());
        room = rest;
    }
    whole - room.len()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::{hint, thread};

    use super::*;

    type Own = Box<[AtomicU64]>;

    fn board(threads: usize) -> Scoreboard<Own> {
        let words = 0..Scoreboard::words_per_worker(threads);
        Scoreboard::new(words.map(|_| AtomicU64::new(0)).collect())
    }

    fn at(milliseconds: u64) -> Moment {
        Moment::from_millis(milliseconds)
    }

    #[test]
    fn requests_are_seen_while_they_run() {
        let board = board(3);
        assert!(board.running(at(1000)).is_empty());
        let peer = "10.0.0.1:1234".parse().ok();
        board.begin(0, "GET", b"/path?a=b", peer, at(1000));
        board.begin(2, "OPTIONS", b"*", "[2001:db8::1]:80".parse().ok(), at(4200));
        board.begin(3, "GET", b"/no-such-thread", None, at(4200));
        let lines =
            |now| board.running(at(now)).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            lines(4200),
            [
                "GET /path?a=b from 10.0.0.1:1234, running for 3.2 s",
                "OPTIONS * from [2001:db8::1]:80, running for 0.0 s"
            ]
        );
        assert_eq!(board.running(at(4200))[1].thread, 2);
        board.end(2);
        board.begin(0, "GET", b"/", None, at(0));
        assert_eq!(lines(2001), ["GET / from a Unix socket, running for 2.0 s"]);
        board.end(0);
        board.end(3);
        assert!(lines(9999).is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_nothing_in_it_forges_a_log() {
        let board = board(1);
        for length in [TEXT_LIMIT - 5, TEXT_LIMIT - 4, TEXT_LIMIT - 3, 8190] {
            let target = "a".repeat(length);
            board.begin(0, "GET", target.as_bytes(), None, at(1));
            let running = board.running(at(1)).remove(0);
            assert_eq!(running.is_cut, length > TEXT_LIMIT - 4);
            assert_eq!(running.line.len(), TEXT_LIMIT.min(4 + length));
            let ellipsis = if running.is_cut { "…" } else { "" };
            let seen = "a".repeat(length.min(TEXT_LIMIT - 4));
            let line = format!("GET {seen}{ellipsis} from a Unix socket, running for 0.0 s");
            assert_eq!(running.to_string(), line);
        }
        board.begin(0, &"X".repeat(TEXT_LIMIT + 1), b"/", None, at(1));
        assert_eq!(board.running(at(1))[0].line, "X".repeat(TEXT_LIMIT).as_bytes());
        board.begin(0, "GET", b"/\n[forged]\x1b\xff", None, at(1));
        let line = board.running(at(1))[0].to_string();
        assert!(line.starts_with("GET /\\n[forged]\\x1b\\xff from"), "{line}");
    }

    #[test]
    fn any_memory_can_be_read() {
        let words: Own = (0..Scoreboard::words_per_worker(2)).map(|_| u64::MAX.into()).collect();
        assert_eq!(Scoreboard::read(&words, at(1)).len(), 2);
        assert_eq!(State::of(&words), State::Booting);
        for length in [0, 1, HEADER, HEADER + ROW - 1] {
            assert!(Scoreboard::read(&words[..length], at(1)).is_empty());
        }
        let board = Scoreboard::new(&words[..0]);
        board.set_state(State::Idle);
        board.begin(0, "GET", b"/", None, at(1));
        board.end(0);
    }

    #[test]
    fn states_of_others() {
        let boards = [board(1), board(1), board(1)];
        let all = || boards.iter().map(|board| &*board.words);
        let seen = || others(all(), &boards[1].words).collect::<Vec<_>>();
        assert_eq!(seen(), [State::Booting; 2]);
        let states = [State::Booting, State::Busy, State::Draining, State::Idle, State::Stuck];
        for state in states {
            boards[0].set_state(state);
            assert_eq!(seen(), [state, State::Booting]);
            boards[1].set_state(state);
        }
        boards[0].set_connections(5);
        boards[0].set_requests(7);
        assert_eq!(boards[0].words[1..3].iter().map(word).collect::<Vec<_>>(), [5, 7]);
    }

    fn word(word: &AtomicU64) -> u64 {
        word.load(Ordering::Relaxed)
    }

    #[test]
    fn room_for_as_many_threads_as_there_are_words() {
        assert_eq!(Scoreboard::words_per_worker(0), 8);
        assert_eq!(Scoreboard::words_per_worker(4), 72);
        assert_eq!(Scoreboard::words_per_worker(255), 4088);
        assert_eq!(Scoreboard::words_per_worker(256), 4096);
        assert_eq!(Scoreboard::words_per_worker(usize::MAX), 4096);
    }

    /// One thread begins and ends requests as quickly as it can, all in the same millisecond, and
    /// whatever another sees of them is one of them.
    #[test]
    fn no_torn_request_is_seen() {
        let (board, done, seen) = (board(1), AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for running in board.running(at(1)) {
                        let [b'G', b'E', b'T', b' ', target @ ..] = &running.line[..] else {
                            panic!("{running}")
                        };
                        let port = running.peer.unwrap().port();
                        let byte = b'a' + u8::try_from(port % 26).unwrap();
                        assert_eq!(target.len(), usize::from(port % 90) + 1, "{running}");
                        assert!(target.iter().all(|&other| other == byte), "{running}");
                        seen.store(true, Ordering::Relaxed);
                    }
                }
            });
            for number in 0..300_000_u32 {
                let port = u16::try_from(number % 60_000).unwrap();
                let byte = b'a' + u8::try_from(port % 26).unwrap();
                let target = [byte; 90];
                let peer = SocketAddr::from(([10, 0, 0, 1], port));
                let length = usize::from(port % 90) + 1;
                board.begin(0, "GET", &target[..length], Some(peer), at(1));
                (0..number % 64).for_each(|_| hint::spin_loop());
                board.end(0);
            }
            board.begin(0, "GET", b"a", Some(([10, 0, 0, 1], 0).into()), at(1));
            while !seen.load(Ordering::Relaxed) && !reader.is_finished() {
                thread::yield_now();
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
