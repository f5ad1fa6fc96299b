//! The config file: Python, executed for the names that it leaves behind.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyList, PyModule, PyString, PyTuple};
use rgunicorn_wsgi::{SystemExit, format_exception};

use crate::settings::{ConfigLocation, HOOKS, Layer, NOT_YET, Origin, Raw, SETTINGS, SettingError};

/// A config file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// The file, or the import of the module, raised `SystemExit`.
    #[error("{} exits with code {}{}", .origin.display(), .exit.code,
            .exit.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default())]
    Exit {
        /// What it asks for.
        exit: SystemExit,
        /// The file, or the module's name.
        origin: PathBuf,
    },
    /// There is no such file; gunicorn's words.
    #[error("'{}' doesn't exist", .0.display())]
    Missing(PathBuf),
    /// The file, or the import of the module, raised an exception.
    #[error("Failed to read config file: {}\n{traceback}", .origin.display())]
    Raised {
        /// The file, or the module's name.
        origin: PathBuf,
        /// Python's traceback, several lines.
        traceback: String,
    },
    /// The file asks for what this server does not have.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The file is there but cannot be read.
    #[error("can't read '{}': {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
}

/// Executes the config file and takes the settings from its global names.
///
/// The file runs as the module `__config__`, from its source: cached bytecode would hide a change
/// made within the second, and SIGHUP is there to see changes. A module, for the same reason, is
/// imported anew each time.
///
/// # Errors
///
/// The file is not there, raises an exception, or asks for something that is not supported.
/// Values are judged later, by [`Settings::resolve`](crate::settings::Settings::resolve).
pub fn load(py: Python<'_>, location: &ConfigLocation) -> Result<Layer, ConfigFileError> {
    let (origin, globals) = match location {
        ConfigLocation::File(path) => (path.clone(), execute(py, path)),
        ConfigLocation::Module(name) => {
            let module = import_anew(py, name).map(|module| module.dict());
            (PathBuf::from(name), module.map_err(ExecuteError::Python))
        }
    };
    globals.and_then(|globals| Ok(settings_of(&globals, &origin)??)).map_err(|error| match error {
        ExecuteError::Python(error) => {
            if let Some(exit) = SystemExit::of(py, &error) {
                return ConfigFileError::Exit { exit, origin };
            }
            let traceback = format_exception(py, &error).trim_end().to_owned();
            ConfigFileError::Raised { traceback, origin }
        }
        ExecuteError::File(error) => error,
    })
}

/// What goes wrong on the way, before it is put in words.
enum ExecuteError {
    File(ConfigFileError),
    Python(PyErr),
}

impl From<PyErr> for ExecuteError {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<SettingError> for ExecuteError {
    fn from(error: SettingError) -> Self {
        Self::File(error.into())
    }
}

fn execute<'py>(py: Python<'py>, path: &PathBuf) -> Result<Bound<'py, PyDict>, ExecuteError> {
    let source = std::fs::read(path).map_err(|reason| {
        ExecuteError::File(match reason.kind() {
            std::io::ErrorKind::NotFound => ConfigFileError::Missing(path.clone()),
            _ => ConfigFileError::Unreadable { path: path.clone(), reason },
        })
    })?;
    let module = PyModule::new(py, "__config__")?;
    module.add("__file__", path.as_os_str())?;
    py.import("sys")?.getattr("modules")?.set_item("__config__", &module)?;
    let builtins = py.import("builtins")?;
    let source = PyBytes::new(py, &source);
    let code = builtins.call_method1("compile", (source, path.as_os_str(), "exec"))?;
    builtins.call_method1("exec", (code, module.dict()))?;
    Ok(module.dict())
}

fn import_anew<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyModule>> {
    let modules = py.import("sys")?.getattr("modules")?;
    modules.call_method1("pop", (name, py.None()))?;
    py.import(name)
}

/// Picks the names that are settings; all others are the file's own business.
fn settings_of(
    globals: &Bound<'_, PyDict>,
    origin: &std::path::Path,
) -> PyResult<Result<Layer, SettingError>> {
    let py = globals.py();
    let origin = Origin::ConfigFile(origin.to_owned());
    let mut layer = Layer::default();
    for row in SETTINGS {
        if let Some(value) = globals.get_item(row.name)? {
            layer.set(row.name, raw(&value, Nesting::Items)?, origin.clone());
        }
    }
    for row in NOT_YET {
        if let Some(value) = globals.get_item(row.name)? {
            // `None` and a default are the same to gunicorn.
            let mut is_harmless = value.is_none();
            for harmless in [row.default].into_iter().chain(row.synonym) {
                is_harmless |= value.eq(literal(py, harmless)?)?;
            }
            if !is_harmless {
                return Ok(Err(SettingError::NotSupported { setting: row.name, origin }));
            }
        }
    }
    for hook in HOOKS {
        if globals.contains(hook)? {
            return Ok(Err(SettingError::Hook { hook, origin }));
        }
    }
    Ok(Ok(layer))
}

/// Whether the items of a list or dict are looked at, or shown as they are.
#[derive(Clone, Copy)]
enum Nesting {
    Items,
    Leaf,
}

/// The value without Python. One level is enough for every setting, and a list that
/// contains itself ends there too.
fn raw(value: &Bound<'_, PyAny>, nesting: Nesting) -> PyResult<Raw> {
    if value.is_none() {
        return Ok(Raw::None);
    }
    // Before int, of which it is a subclass.
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(Raw::Bool(value.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        if let Ok(number) = value.extract() {
            return Ok(Raw::Int(number));
        }
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Raw::Text(value.extract()?));
    }
    let is_list = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
    if let (Nesting::Items, true) = (nesting, is_list) {
        let items = value.try_iter()?.map(|item| raw(&item?, Nesting::Leaf));
        return Ok(Raw::List(items.collect::<PyResult<_>>()?));
    }
    if let (Nesting::Items, Ok(map)) = (nesting, value.cast::<PyDict>()) {
        let leaf = |value: &Bound<'_, PyAny>| raw(value, Nesting::Leaf);
        let entries = map.iter().map(|(key, value)| Ok((leaf(&key)?, leaf(&value)?)));
        return Ok(Raw::Map(entries.collect::<PyResult<_>>()?));
    }
    Ok(Raw::Other(value.repr()?.to_string()))
}

fn literal<'py>(py: Python<'py>, source: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("ast")?.call_method1("literal_eval", (source,))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::NEEDLESS;

    fn with_python<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
        crate::embed::initialize(&["rgunicorn".into()]).unwrap();
        Python::attach(work)
    }

    /// What a file with this content says, or its whole error with `FILE` for its path.
    fn loaded(source: &str) -> Result<Vec<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gunicorn.conf.py");
        std::fs::write(&path, source).unwrap();
        with_python(|py| load(py, &ConfigLocation::File(path.clone())))
            .map(|layer| layer.iter().map(|(name, value, _)| format!("{name}={value}")).collect())
            .map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn names_of_settings_are_taken_and_others_are_not() {
        let source = "import os\nfrom os.path import join\nWORKERS = 9\nhelper = lambda: 1\n\
                      workers = 2 * 2 + 1\nbind = ['a:1', 'b:2']\ntimeout = '0x10'\n\
                      check_config = True\naccesslog = None\nkeepalive = 1.5\n\
                      loglevel = __name__\nlimit_request_body = 1 << 80\n\
                      errorlog = os.path.basename(__file__)\nwsgi_app = ('a', ['b'])\n\
                      secure_scheme_headers = {'X-Tls': 'on', 1: {}}\n";
        let expected = [
            "accesslog=None",
            "bind=['a:1', 'b:2']",
            "check_config=True",
            "errorlog='gunicorn.conf.py'",
            "keepalive=1.5",
            "limit_request_body=1208925819614629174706176",
            "loglevel='__config__'",
            "secure_scheme_headers={'X-Tls': 'on', 1: {}}",
            "timeout='0x10'",
            "workers=5",
            "wsgi_app=['a', ['b']]",
        ];
        assert_eq!(loaded(source).unwrap(), expected);
        assert_eq!(loaded("").unwrap(), [""; 0]);
    }

    #[test]
    fn gunicorns_defaults_are_harmless_and_so_is_what_is_needless() {
        for row in NOT_YET {
            for harmless in [row.default].into_iter().chain(row.synonym) {
                assert_eq!(loaded(&format!("{} = {harmless}", row.name)).unwrap(), [""; 0]);
            }
        }
        let needless = NEEDLESS.iter().map(|row| format!("{} = 'anything'", row.name));
        assert_eq!(loaded(&needless.collect::<Vec<_>>().join("\n")).unwrap(), [""; 0]);
    }

    #[test]
    fn anything_else_of_gunicorns_is_refused_by_name() {
        for row in NOT_YET {
            let expected = format!(
                "{} in FILE is a gunicorn setting that rgunicorn does not support yet",
                row.name
            );
            assert_eq!(loaded(&format!("{} = object()", row.name)), Err(expected));
        }
        for hook in HOOKS {
            let source = format!("def {hook}(*args): pass");
            let expected = format!("hook {hook} in FILE is not supported yet");
            assert_eq!(loaded(&source), Err(expected));
        }
    }

    #[test]
    fn exceptions_come_with_their_traceback() {
        let raised = loaded("workers = 1\n1 / 0\n").unwrap_err();
        let expected = "Failed to read config file: FILE\nTraceback (most recent call last):\n  \
                        File \"FILE\", line 2, in <module>\n    1 / 0\n";
        assert!(raised.starts_with(expected), "{raised}");
        assert!(raised.ends_with("ZeroDivisionError: division by zero"), "{raised}");
        let syntax = loaded("workers =").unwrap_err();
        assert!(syntax.ends_with("SyntaxError: invalid syntax"), "{syntax}");
        assert_eq!(loaded("raise SystemExit(5)").unwrap_err(), "FILE exits with code 5");
        let exit = loaded("raise SystemExit('no secret')").unwrap_err();
        assert_eq!(exit, "FILE exits with code 1: no secret");
    }

    #[test]
    fn files_and_modules_that_are_not_there() {
        let error = |location| with_python(|py| load(py, &location)).unwrap_err().to_string();
        let missing = error(ConfigLocation::File("/no/such.py".into()));
        assert_eq!(missing, "'/no/such.py' doesn't exist");
        let directory = error(ConfigLocation::File("/".into()));
        assert_eq!(directory, "can't read '/': Is a directory (os error 21)");
        let module = error(ConfigLocation::Module("no_such_module".into()));
        assert!(module.contains("No module named 'no_such_module'"), "{module}");
    }

    #[test]
    fn a_second_load_sees_the_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("second_load_config.py");
        with_python(|py| crate::python::insert_path(py, directory.path())).unwrap();
        for location in [
            ConfigLocation::File(path.clone()),
            ConfigLocation::Module("second_load_config".into()),
        ] {
            for workers in [2, 3] {
                std::fs::write(&path, format!("workers = {workers}")).unwrap();
                let layer = with_python(|py| load(py, &location)).unwrap();
                let value = layer.iter().next().map(|(_, value, _)| value.clone());
                assert_eq!(value, Some(Raw::Int(workers)), "{location:?}");
            }
        }
    }
}
