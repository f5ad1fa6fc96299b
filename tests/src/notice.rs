//! What whoever runs the tests ought to know.

/// Says why a test does not judge anything here; `tests/run` gathers these lines for its end.
#[expect(clippy::print_stderr, reason = "whoever reads the test's output learns what it skipped")]
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Says what was measured; no test depends on it.
#[expect(clippy::print_stderr, reason = "a measurement is for whoever reads the test's output")]
pub fn measured(what: &str) {
    eprintln!("measured: {what}");
}
