//! Which program is tested.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The server: what `TEST_SERVER` names, otherwise the native binary, built when needed.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("TEST_SERVER") {
        // The server runs in a directory of its own, where a relative name would mean nothing.
        Some(named) => std::path::absolute(named).expect("TEST_SERVER names a program"),
        None => build(),
    })
}

/// Builds the binary and asks cargo where it lies: only cargo knows the target directory.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bin", "rgunicorn"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(built.status.success(), "the server does not build");
    let messages = String::from_utf8(built.stdout).expect("cargo speaks UTF-8");
    let (_, executable) =
        messages.rsplit_once(r#""executable":""#).expect("cargo names the executable");
    executable.split('"').next().unwrap().into()
}
