//! The life of an embedded interpreter.

use std::path::PathBuf;
use std::process::Command;

use pyo3::prelude::*;
use rgunicorn::embed::{finalize, initialize, is_initialized};

/// One test, because an interpreter starts once in a process.
#[test]
fn the_life_of_an_interpreter() {
    assert!(!is_initialized());
    assert!(finalize(), "nothing to do");
    let temporary = tempfile::tempdir().unwrap();
    let farewell = temporary.path().join("farewell");

    initialize(&["rgunicorn".into(), "app:app".into()]).unwrap();
    initialize(&["a second time is harmless".into()]).unwrap();
    assert!(is_initialized());
    Python::attach(|py| {
        let sys = py.import("sys").unwrap();
        let arguments: Vec<String> = sys.getattr("argv").unwrap().extract().unwrap();
        assert_eq!(arguments, ["rgunicorn", "app:app"]);

        // `multiprocessing` and many a program start another Python by this path.
        let executable: PathBuf = sys.getattr("executable").unwrap().extract().unwrap();
        let version: String = sys.getattr("version").unwrap().extract().unwrap();
        let code = "import sys; print(sys.version, end='')";
        let other = Command::new(executable).args(["-c", code]).output().unwrap();
        assert_eq!(String::from_utf8(other.stdout).unwrap(), version);

        let threading = py.import("threading").unwrap();
        let main = threading.call_method0("main_thread").unwrap();
        assert!(main.is(threading.call_method0("current_thread").unwrap()));

        let farewell = farewell.clone().into_os_string();
        let touch = py.import("builtins").unwrap().getattr("open").unwrap();
        py.import("atexit").unwrap().call_method1("register", (touch, farewell, "w")).unwrap();
    });
    assert!(finalize());
    assert!(!is_initialized());
    assert!(farewell.exists(), "atexit functions run");
}
