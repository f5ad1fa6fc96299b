//! How much memory a worker takes, as proc(5) tells it.

use std::fs;
use std::io;

use nix::unistd::{SysconfVar, sysconf};

use crate::Pid;

/// Which memory of a worker counts.
///
/// ```
/// let kind: rgunicorn_arbiter::MemoryKind = "rss".parse()?;
/// assert_eq!(kind.to_string(), "rss");
/// # Ok::<(), rgunicorn_arbiter::MemoryKindError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MemoryKind {
    /// The proportional set: of a page that several processes have, each counts its share. So what
    /// workers got from the arbiter by the fork, as with a preloaded application, counts once.
    #[default]
    Pss,
    /// The resident set: all pages that the process has, whoever else has them too.
    Rss,
}

/// A text that is no [`MemoryKind`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the kinds of memory are pss and rss")]
pub struct MemoryKindError;

impl std::str::FromStr for MemoryKind {
    type Err = MemoryKindError;

    fn from_str(text: &str) -> Result<Self, MemoryKindError> {
        match text {
            "pss" => Ok(Self::Pss),
            "rss" => Ok(Self::Rss),
            _ => Err(MemoryKindError),
        }
    }
}

impl std::fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pss => "pss",
            Self::Rss => "rss",
        })
    }
}

impl MemoryKind {
    /// Bytes of the process, or an upper bound of them that is no more than `limit_bytes`: the
    /// resident set is told at once, while the kernel walks through all pages for the proportional
    /// one, which is never larger.
    pub(crate) fn measure(self, pid: Pid, limit_bytes: u64) -> io::Result<u64> {
        let resident = resident(&fs::read_to_string(format!("/proc/{pid}/statm"))?)?;
        match self {
            Self::Pss if resident > limit_bytes => {
                proportional(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?)
            }
            Self::Pss | Self::Rss => Ok(resident),
        }
    }
}

/// The second field of `statm` is the resident set in pages.
fn resident(statm: &str) -> io::Result<u64> {
    let pages: Option<u64> = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|bytes| u64::try_from(bytes).ok());
    let (pages, page_bytes) = pages.zip(page_bytes).ok_or(io::ErrorKind::InvalidData)?;
    Ok(pages.saturating_mul(page_bytes))
}

/// The line `Pss:` of `smaps_rollup` is in kB, which are KiB.
fn proportional(smaps_rollup: &str) -> io::Result<u64> {
    let mut lines = smaps_rollup.lines();
    let line = lines.find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
    let kibibytes: Option<u64> = line.and_then(|number| number.parse().ok());
    Ok(kibibytes.ok_or(io::ErrorKind::InvalidData)?.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory() {
        let rss = MemoryKind::Rss.measure(Pid::this(), 0).unwrap();
        let pss = MemoryKind::Pss.measure(Pid::this(), 0).unwrap();
        assert!(0 < pss && pss <= rss + (1 << 20), "{pss} and {rss}");
        // Enough to know: the costly look is spared.
        assert!(MemoryKind::Pss.measure(Pid::this(), u64::MAX).unwrap() > 0);
        assert!(MemoryKind::Rss.measure(Pid::from_raw(i32::MAX), 0).is_err());
    }

    #[test]
    fn the_words_of_the_kernel() {
        let rollup = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\n\
                      Rss:    9000 kB\nPss:    1234 kB\nPss_Dirty: 12 kB\n";
        assert_eq!(proportional(rollup).unwrap(), 1234 * 1024);
        assert!(proportional("Pss: much").is_err() && resident("1").is_err());
    }
}
