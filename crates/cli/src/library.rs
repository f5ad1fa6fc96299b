//! What the arbiter imports of Python's standard library, once for all workers but the first.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use pyo3::prelude::*;

use crate::settings::Settings;
use crate::{embed, python};

/// An import that has yet to be done.
///
/// Nearly every application imports these modules, and a worker that finds them there is ready
/// sooner, in pages that are not its own. But an import takes longer than all else that an arbiter
/// does before its first fork. So the first worker goes without, and the arbiter imports while that
/// one boots, before it forks the second; or, where there is no second, when it is ready.
#[derive(Debug)]
pub(crate) struct Library {
    /// Where the application may have modules of its own.
    directories: Vec<PathBuf>,
}

impl Library {
    /// `None` where there is nothing to gain: the application is loaded before the fork, or Python
    /// runs in the workers only.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        let is_useful = !settings.preload_app && embed::is_initialized();
        is_useful.then(|| Self { directories: python::directories(settings) })
    }

    /// Imports it, but nothing of which the application has its own: a worker would find one or the
    /// other, depending on when it was forked.
    pub(crate) fn import(self) {
        let imported = Python::attach(|py| {
            let modules = py.import("sys")?.getattr("modules")?;
            let own = self.own_modules(py)?;
            // Python's way to say that there is no such module.
            for name in &own {
                modules.set_item(name, py.None())?;
            }
            for module in MODULES {
                if let Err(error) = py.import(module) {
                    log::debug!("cannot import {module}: {error}");
                }
            }
            for name in &own {
                modules.del_item(name)?;
            }
            python::freeze(py)
        });
        match imported {
            Ok(()) => log::debug!("Python's library is imported for the workers to come"),
            Err(error) => log::debug!("cannot import Python's library: {error}"),
        }
    }

    /// Modules of the application's under names of the library's that are not taken yet.
    fn own_modules(&self, py: Python<'_>) -> PyResult<BTreeSet<String>> {
        let sys = py.import("sys")?;
        let (library, taken) = (sys.getattr("stdlib_module_names")?, sys.getattr("modules")?);
        let mut own = BTreeSet::new();
        // A directory that cannot be read has no modules.
        let directories = self.directories.iter().filter_map(|path| path.read_dir().ok());
        for path in directories.flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let name = name.split('.').next().unwrap_or_default();
            if library.contains(name)? && !taken.contains(name)? && is_module(&path) {
                own.insert(name.to_owned());
            }
        }
        Ok(own)
    }
}

/// A directory without `__init__.py` is one as well, but is found after the library's.
fn is_module(path: &Path) -> bool {
    match path.extension().map(OsStr::as_encoded_bytes) {
        Some(suffix) => matches!(suffix, b"py" | b"pyc" | b"so"),
        None => path.join("__init__.py").exists(),
    }
}

/// What Flask and Django import, and for the most part Pyramid, Falcon and Bottle too: with what they
/// bring 140 modules. None of them starts a thread, keeps a file open, or reads the environment, which
/// `raw_env` changes for workers only; hence nothing that brings OpenSSL, whose code alone would
/// double the arbiter.
const MODULES: [&str; 15] = [
    "decimal",
    "difflib",
    "email.parser",
    "encodings.idna",
    "html",
    "importlib.metadata",
    "json",
    "logging",
    "mimetypes",
    "pickle",
    "pkgutil",
    "pprint",
    "socketserver",
    "tempfile",
    "uuid",
];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn modules_of_the_applications_under_names_of_the_librarys() {
        embed::initialize(&["rgunicorn".into()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        // `sys` is there already.
        for name in ["turtle", "this"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        for name in ["app.py", "chunk.txt", "this/__init__.py", "wave.py", "sys.py"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let library = Library { directories: vec!["/gone".into(), directory.path().into()] };
        let own = Python::attach(|py| library.own_modules(py)).unwrap();
        assert_eq!(own, ["this", "wave"].map(str::to_owned).into());
    }

    #[test]
    fn a_preloaded_application_has_imported_it() {
        embed::initialize(&["rgunicorn".into()]).unwrap();
        for preload_app in [false, true] {
            let settings = Settings { preload_app, ..Settings::default() };
            assert_eq!(Library::new(&settings).is_some(), !preload_app);
        }
    }
}
