//! One program in `src/bin` for each thing that the crates can do; here is what they share.

use std::io::{self, Write};

/// Shows what the crates log, on standard error.
///
/// They speak through the `log` crate and leave it to the program who listens: without this they
/// are silent.
pub fn log_to_stderr() {
    // Refused only where a logger is installed already, which then does as well.
    if log::set_logger(&StandardError).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

struct StandardError;

impl log::Log for StandardError {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        // One write per line, so that lines of several workers do not mix.
        let line = format!("[{}] [{}] {}\n", std::process::id(), record.level(), record.args());
        // Where even standard error is closed, there is nobody to tell.
        io::stderr().write_all(line.as_bytes()).ok();
    }

    fn flush(&self) {}
}

/// The example in the crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../crates/workers/README.md")]
struct WorkersReadme;
