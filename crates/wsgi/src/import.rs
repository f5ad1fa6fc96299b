//! From `module:attribute` to a callable, with gunicorn's rules and messages.

use std::path::Path;
use std::str::FromStr;

use pyo3::exceptions::{PyAttributeError, PyImportError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use thiserror::Error;

use crate::LoadError;

/// Where an application is: `module`, `module:attribute` or `module:factory("argument", key=1)`.
///
/// The attribute is `application` unless another is named. A factory is called once, with arguments
/// that are Python literals, and returns the application.
///
/// ```
/// use rgunicorn_wsgi::Spec;
///
/// for spec in ["shop.wsgi", "shop:app", r#"shop:create_app("production", debug=False)"#] {
///     assert!(spec.parse::<Spec>().is_ok());
/// }
/// assert!(":app".parse::<Spec>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Never empty.
    module: String,
    /// A name or a call; Python's own parser looks at it when the module is there.
    expression: String,
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        let (module, expression) = spec.split_once(':').unwrap_or((spec, "application"));
        if module.is_empty() {
            return Err(SpecError { spec: spec.to_owned() });
        }
        Ok(Self { module: module.to_owned(), expression: expression.to_owned() })
    }
}

/// A [`Spec`] names no module.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("no module is named in {spec:?}")]
pub struct SpecError {
    spec: String,
}

pub(crate) fn load(py: Python<'_>, spec: &Spec) -> Result<Py<PyAny>, LoadError> {
    let shown = repr(py, &spec.expression);
    let module = import_module(py, spec)?;
    let reference = Reference::parse(py, &spec.expression)?;
    let object = module.getattr(&reference.name).map_err(|error| {
        if error.is_instance_of::<PyAttributeError>(py) {
            let (name, module) = (repr(py, &reference.name), repr(py, &spec.module));
            LoadError::Application(format!("Failed to find attribute {name} in {module}."))
        } else {
            LoadError::raised(py, &error)
        }
    })?;
    let object = match reference.arguments {
        Some((args, kwargs)) => object.call(args, Some(&kwargs)).map_err(|error| {
            // No frame in the traceback: the arguments did not fit and nothing of the factory ran.
            if error.is_instance_of::<PyTypeError>(py) && error.traceback(py).is_none() {
                LoadError::Application(error.to_string())
            } else {
                LoadError::raised(py, &error)
            }
        })?,
        None => object,
    };
    if object.is_none() {
        return Err(LoadError::Application(format!("Failed to find application object: {shown}")));
    }
    if !object.is_callable() {
        return Err(LoadError::Application("Application object must be callable.".to_owned()));
    }
    Ok(object.unbind())
}

fn import_module<'py>(py: Python<'py>, spec: &Spec) -> Result<Bound<'py, PyAny>, LoadError> {
    let module = py
        .import("importlib")
        .and_then(|importlib| importlib.call_method1("import_module", (&spec.module,)));
    module.map_err(|error| {
        let stem = spec.module.strip_suffix(".py");
        match stem.filter(|_| error.is_instance_of::<PyImportError>(py)) {
            Some(stem) if Path::new(&spec.module).exists() => {
                let meant = repr(py, &format!("{stem}:{}", spec.expression));
                let hint = format!("Failed to find application, did you mean {meant}?");
                let hint = PyImportError::new_err(hint);
                hint.set_cause(py, Some(error));
                LoadError::raised(py, &hint)
            }
            _ => LoadError::raised(py, &error),
        }
    })
}

/// A parsed expression.
struct Reference<'py> {
    name: String,
    /// What to call it with, if it is a factory.
    arguments: Option<(Bound<'py, PyTuple>, Bound<'py, PyDict>)>,
}

impl<'py> Reference<'py> {
    fn parse(py: Python<'py>, expression: &str) -> Result<Self, LoadError> {
        let shown = repr(py, expression);
        let neither = || {
            LoadError::Application(format!(
                "Failed to parse {shown} as an attribute name or function call."
            ))
        };
        let ast = py.import("ast").map_err(|error| LoadError::raised(py, &error))?;
        let parsed = ast.call_method1("parse", (expression, "<application>", "eval"));
        let node = parsed.and_then(|tree| tree.getattr("body")).map_err(|_| neither())?;
        let is = |node: &Bound<'py, PyAny>, kind| {
            ast.getattr(kind).and_then(|kind| node.is_instance(&kind)).unwrap_or(false)
        };
        let name_of = |node: &Bound<'py, PyAny>| {
            node.getattr("id").and_then(|id| id.extract()).map_err(|_| neither())
        };
        if is(&node, "Name") {
            return Ok(Self { name: name_of(&node)?, arguments: None });
        }
        if !is(&node, "Call") {
            return Err(neither());
        }
        let function = node.getattr("func").map_err(|_| neither())?;
        if !is(&function, "Name") {
            let message = format!("Function reference must be a simple name: {shown}");
            return Err(LoadError::Application(message));
        }
        let arguments = literal_arguments(&ast, &node).map_err(|_| {
            LoadError::Application(format!("Failed to parse arguments as literal values: {shown}"))
        })?;
        Ok(Self { name: name_of(&function)?, arguments: Some(arguments) })
    }
}

fn literal_arguments<'py>(
    ast: &Bound<'py, PyModule>,
    call: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
    let literal = |node: Bound<'py, PyAny>| ast.call_method1("literal_eval", (node,));
    let args = call.getattr("args")?.try_iter()?.map(|arg| literal(arg?));
    let args = PyTuple::new(call.py(), args.collect::<PyResult<Vec<_>>>()?)?;
    let kwargs = PyDict::new(call.py());
    for keyword in call.getattr("keywords")?.try_iter()? {
        let keyword = keyword?;
        kwargs.set_item(keyword.getattr("arg")?, literal(keyword.getattr("value")?)?)?;
    }
    Ok((args, kwargs))
}

/// As Python's `%r` shows a string.
fn repr(py: Python<'_>, text: &str) -> String {
    let quoted = PyString::new(py, text).repr().map(|quoted| quoted.to_string());
    quoted.unwrap_or_else(|_| format!("{text:?}"))
}
