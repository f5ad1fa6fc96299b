//! The programs of the examples' package.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::server::Server;

/// Starts an example, `examples/src/bin/NAME.rs`, in a directory of its own, and returns at once.
pub fn example(name: &str, arguments: &[&str]) -> Server {
    start(Command::new(build(name)), arguments)
}

/// The same for an example that imports packages of a virtual environment.
pub fn example_within(virtualenv: &Path, name: &str, arguments: &[&str]) -> Server {
    let mut command = Command::new(build(name));
    command.env("VIRTUAL_ENV", virtualenv);
    start(command, arguments)
}

fn start(mut command: Command, arguments: &[&str]) -> Server {
    let directory = TempDir::with_prefix("rgunicorn-").expect("a temporary directory");
    command.args(arguments).current_dir(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Server::spawn(command, directory)
}

/// Builds an example and asks cargo where it lies: only cargo knows the target directory. Built with
/// the whole workspace, as the tests are, it shares what was compiled for them.
fn build(name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bin", name])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(built.status.success(), "the example {name} does not build");
    let messages = String::from_utf8(built.stdout).expect("cargo speaks UTF-8");
    let (_, executable) =
        messages.rsplit_once(r#""executable":""#).expect("cargo names the executable");
    executable.split('"').next().expect("a split has a first part").into()
}
