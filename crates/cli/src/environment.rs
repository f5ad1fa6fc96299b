//! `raw_env`: variables for the application, and only for it; and one that tells it the server.

use std::ffi::{OsStr, OsString};

use pyo3::prelude::*;
use rgunicorn_arbiter::Arbiter;

use crate::site::SERVER_SOFTWARE;

/// Variables that were set, and what they were before.
#[derive(Debug)]
pub(crate) struct Environment {
    previous: Vec<(OsString, Option<OsString>)>,
}

impl Environment {
    /// Sets variables through `os.environ`, which changes the process's environment with it. Before
    /// them comes `SERVER_SOFTWARE`, by which applications know, as under gunicorn, that they are served.
    ///
    /// # Errors
    ///
    /// A name that the system does not take.
    pub(crate) fn apply(py: Python<'_>, variables: &[(OsString, OsString)]) -> PyResult<Self> {
        let environ = py.import("os")?.getattr("environ")?;
        let mut previous = Vec::new();
        let server = (OsString::from("SERVER_SOFTWARE"), OsString::from(SERVER_SOFTWARE));
        for (name, value) in std::iter::once(&server).chain(variables) {
            let before = environ.call_method1("get", (name.as_os_str(),))?.extract()?;
            environ.set_item(name.as_os_str(), value.as_os_str())?;
            previous.push((name.clone(), before));
        }
        Ok(Self { previous })
    }

    /// Takes out what was meant for the arbiter. An interpreter that was started before the fork has
    /// it in `os.environ` still, and what the application starts would find it there.
    ///
    /// # Errors
    ///
    /// `os.environ` is not what it was.
    pub(crate) fn forget(py: Python<'_>) -> PyResult<()> {
        let environ = py.import("os")?.getattr("environ")?;
        for name in Arbiter::VARIABLES {
            environ.call_method1("pop", (name, None::<&OsStr>))?;
        }
        Ok(())
    }

    /// Goes back to what the variables were.
    ///
    /// # Errors
    ///
    /// `os.environ` is not what it was.
    pub(crate) fn restore(&mut self, py: Python<'_>) -> PyResult<()> {
        let environ = py.import("os")?.getattr("environ")?;
        // The last first, for one that was set twice.
        while let Some((name, before)) = self.previous.pop() {
            match before {
                Some(value) => environ.set_item(name, value)?,
                None => {
                    environ.call_method1("pop", (name, None::<&OsStr>))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_and_go() {
        crate::embed::initialize(&["rgunicorn".into()]).unwrap();
        let seen = || (std::env::var("RGUNICORN_TEST_A").ok(), std::env::var_os("HOME"));
        let before = seen();
        Python::attach(|py| {
            let variables = [("RGUNICORN_TEST_A", "1"), ("HOME", "/"), ("RGUNICORN_TEST_A", "2")]
                .map(|(name, value)| (name.into(), value.into()));
            let mut environment = Environment::apply(py, &variables).unwrap();
            assert_eq!(seen(), (Some("2".into()), Some("/".into())));
            let environ = py.import("os").unwrap().getattr("environ").unwrap();
            let value: String = environ.get_item("RGUNICORN_TEST_A").unwrap().extract().unwrap();
            assert_eq!(value, "2");
            let server: String = environ.get_item("SERVER_SOFTWARE").unwrap().extract().unwrap();
            assert!(server.starts_with("rgunicorn/"), "{server}");
            environment.restore(py).unwrap();
            assert!(!environ.contains("RGUNICORN_TEST_A").unwrap());
            assert!(!environ.contains("SERVER_SOFTWARE").unwrap());
        });
        assert_eq!(seen(), before);
    }
}
