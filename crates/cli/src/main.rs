//! The native `rgunicorn` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    rgunicorn::run(&args)
}
