//! The title of the process: what `ps` and `pgrep -f` show in place of the command line.
//!
//! Linux shows whatever lies in the memory that held the arguments. `prctl(2)` can move that area
//! only in a privileged process, so the title is written over the arguments, and cut to their length.
#![expect(unsafe_code, reason = "the arguments' memory belongs to no Rust object")]

use std::fs;
use std::sync::OnceLock;

/// Shows `title`, or as much of it as the arguments had room for. Elsewhere than on a Linux with
/// `/proc` nothing happens.
///
/// Whoever wants the arguments has read them by now: `std::env::args_os` reads this memory.
pub(crate) fn set(title: &str) {
    static AREA: OnceLock<Option<Area>> = OnceLock::new();
    if let Some(area) = AREA.get_or_init(Area::find) {
        area.write(title.as_bytes());
    }
}

/// Where the arguments lie: one string after the other, each with its NUL.
#[derive(Debug)]
struct Area {
    /// Not 0.
    start: usize,
    /// At least 1, and no more than what the kernel gave the arguments.
    length: usize,
}

impl Area {
    fn find() -> Option<Self> {
        let area = Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)?;
        // The kernel's other view of the same memory must agree, before anything is written there.
        let shown = fs::read("/proc/self/cmdline").ok()?;
        (shown.len() == area.length && shown.last() == Some(&0)).then_some(area)
    }

    /// `arg_start` and `arg_end` are fields 48 and 49 of `proc_pid_stat(5)`.
    fn parse(line: &str) -> Option<Self> {
        // The second field is the program's name, and may contain blanks and parentheses.
        let (_, fields) = line.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace().skip(48 - 3);
        let start: usize = fields.next()?.parse().ok()?;
        let end: usize = fields.next()?.parse().ok()?;
        let length = end.checked_sub(start)?;
        (start > 0 && length > 0).then_some(Self { start, length })
    }

    fn write(&self, title: &[u8]) {
        // The last byte stays NUL: without, the kernel takes the environment for more of the title.
        let room = title.len().min(self.length - 1);
        let start = std::ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: the kernel mapped these `length` bytes, writable, for the arguments, and two of
        // its views agree about them. They live as long as the process; Rust's and Python's copies
        // of the arguments were made at the start, and nobody reads the originals meanwhile.
        unsafe { std::ptr::write_bytes(start, 0, self.length) };
        // SAFETY: as above, and `room < length`; the title lies elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(title.as_ptr(), start, room) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_found_behind_strange_names() {
        let rest: Vec<String> = (4..=52).map(|field| (field * 10).to_string()).collect();
        for name in ["a", "a) S (b", "x 1 2 3"] {
            let area = Area::parse(&format!("7 ({name}) S {}", rest.join(" "))).unwrap();
            assert_eq!((area.start, area.length), (480, 10), "{name}");
        }
        assert!(Area::parse("7 (a) S 1 2 3").is_none());
        assert!(Area::parse("").is_none());
        let reversed = "0 ".repeat(44) + "20 10";
        assert!(Area::parse(&format!("7 (a) S {reversed}")).is_none());
    }
}
