//! The native `rgunicorn` binary.

use std::process::ExitCode;

use rgunicorn::embed;

/// The status by which `python` itself says that its buffers could not be flushed.
const NOT_FLUSHED: u8 = 120;

fn main() -> ExitCode {
    let status = rgunicorn::run(std::env::args_os().collect());
    let flushed = embed::finalize();
    ExitCode::from(if flushed || status != 0 { status } else { NOT_FLUSHED })
}
