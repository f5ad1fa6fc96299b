//! A test binary that silently loads another libpython than it was built for proves nothing.

use pyo3::prelude::*;

#[test]
fn the_interpreter_is_the_one_of_the_build() {
    let version = pyo3::ffi::c_str!("import sys; v = '%d.%d.%d' % sys.version_info[:3]");
    Python::initialize();
    let running: String = Python::attach(|py| {
        let scope = pyo3::types::PyDict::new(py);
        py.run(version, Some(&scope), None).unwrap();
        scope.get_item("v").unwrap().unwrap().extract().unwrap()
    });
    let python = std::env::var_os("PYO3_PYTHON").unwrap_or_else(|| "python3".into());
    let built = std::process::Command::new(python)
        .args(["-c", "import sys; print('%d.%d.%d' % sys.version_info[:3], end='')"])
        .output()
        .unwrap();
    assert_eq!(running, String::from_utf8(built.stdout).unwrap());
}
