//! The virtual environment with the packages that tested applications import.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

/// A virtual environment that holds Flask: what `TEST_VENV` names, otherwise one of our own, made
/// at the first use.
pub fn virtualenv() -> PathBuf {
    if let Some(named) = std::env::var_os("TEST_VENV") {
        return std::path::absolute(named).expect("TEST_VENV names a directory");
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-venv");
    std::fs::create_dir_all(directory.parent().unwrap()).unwrap();
    // Tests run in processes of their own, side by side; one of them makes it, the others wait.
    let guard = File::create(directory.with_extension("lock")).unwrap();
    let _guard = Flock::lock(guard, FlockArg::LockExclusive).expect("a lock file can be locked");
    let complete = directory.join("complete");
    if !complete.exists() {
        let python = std::env::var_os("PYO3_PYTHON").unwrap_or_else(|| "python3".into());
        succeed(Command::new(python).args(["-m", "venv"]).arg(&directory));
        succeed(Command::new(directory.join("bin/pip")).args(["install", "--quiet", "flask"]));
        File::create(complete).unwrap();
    }
    directory
}

fn succeed(command: &mut Command) {
    let status = command.status().expect("the command can be started");
    assert!(status.success(), "{command:?} failed");
}
