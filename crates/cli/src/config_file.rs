//! The config file: Python, executed for the names that it leaves behind.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyList, PyModule, PyString, PyTuple};

use crate::settings::{ConfigLocation, HOOKS, Layer, NOT_YET, Origin, Raw, SETTINGS, SettingError};

/// A config file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
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
            ConfigFileError::Raised { traceback: traceback(py, &error), origin }
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
            let default = literal(py, row.default)?;
            // gunicorn's default asks for nothing; `None` and a default are the same to it.
            if !value.is_none() && !value.eq(default)? {
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

/// Whether the items of a list are looked at, or shown as they are.
#[derive(Clone, Copy)]
enum Nesting {
    Items,
    Leaf,
}

/// The value without Python. One level of lists is enough for every setting, and a list that
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
    Ok(Raw::Other(value.repr()?.to_string()))
}

fn literal<'py>(py: Python<'py>, source: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("ast")?.call_method1("literal_eval", (source,))
}

/// The exception as Python prints it, without a final newline.
fn traceback(py: Python<'_>, error: &PyErr) -> String {
    let formatted = py
        .import("traceback")
        .and_then(|module| module.call_method1("format_exception", (error.value(py),)))
        .and_then(|lines| lines.extract::<Vec<String>>());
    match formatted {
        Ok(lines) => lines.concat().trim_end().to_owned(),
        // Not even the traceback can be formatted: the exception in one line must do.
        Err(_) => error.to_string(),
    }
}
