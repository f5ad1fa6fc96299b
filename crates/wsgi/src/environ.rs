//! The environ dictionary (PEP 3333, "environ Variables").

use std::net::{IpAddr, SocketAddr};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::Violation;
use crate::errors::Errors;
use crate::ffi;
use crate::file_wrapper::FileWrapper;
use crate::input::Input;
use crate::keys::HeaderCache;
use crate::options::EnvironOptions;
use crate::request::{Local, Request};
use crate::response::Fault;
use crate::target::Target;

/// Builds environs that resemble one another.
///
/// `base` is the environ of the last request, less its header fields and input. What is
/// the same in the next request, nearly everything on a connection that is kept alive, is not
/// touched, and copying a dictionary is cheaper than filling one.
pub(crate) struct EnvironBuilder {
    base: Py<PyDict>,
    headers: HeaderCache,
    /// `SCRIPT_NAME` of requests that bring none of their own.
    default_script_name: Vec<u8>,
    script_name: Variable,
    method: Variable,
    protocol: Variable,
    scheme: Variable,
    /// The target behind `PATH_INFO`, `QUERY_STRING` and `RAW_URI`; `None` before the first.
    target: Option<Vec<u8>>,
    server_name: Variable,
    server_port: Variable,
    /// The number behind `SERVER_PORT`, if it was one: comparing text would mean making it first.
    local_port: Option<u16>,
    /// The address behind `REMOTE_ADDR`, which is empty for `None`.
    remote_ip: Option<IpAddr>,
    /// The number behind `REMOTE_PORT`, which is absent for `None`.
    remote_port: Option<u16>,
}

impl EnvironBuilder {
    pub(crate) fn new(
        py: Python<'_>,
        options: &EnvironOptions,
        errors: &Bound<'_, Errors>,
    ) -> PyResult<Self> {
        let base = PyDict::new(py);
        // CPython sizes a dictionary by how it grew and copies it as it is: with these, gone in a
        // moment, there is room for the header fields of most requests, and the copy never grows.
        for placeholder in 0..PLACEHOLDERS {
            base.set_item(placeholder.to_string(), py.None())?;
        }
        base.set_item(intern!(py, "REMOTE_ADDR"), "")?;
        base.set_item(intern!(py, "SERVER_SOFTWARE"), &options.server_software)?;
        base.set_item(intern!(py, "wsgi.version"), (1, 0))?;
        base.set_item(intern!(py, "wsgi.errors"), errors)?;
        base.set_item(intern!(py, "wsgi.input"), Bound::new(py, Input::empty())?)?;
        base.set_item(intern!(py, "wsgi.input_terminated"), true)?;
        base.set_item(intern!(py, "wsgi.file_wrapper"), py.get_type::<FileWrapper>())?;
        base.set_item(intern!(py, "wsgi.multithread"), options.multithread)?;
        base.set_item(intern!(py, "wsgi.multiprocess"), options.multiprocess)?;
        base.set_item(intern!(py, "wsgi.run_once"), false)?;
        let variable = |name| Variable::new(&base, name);
        let builder = Self {
            headers: HeaderCache::new(),
            default_script_name: options.script_name.clone().into_bytes(),
            script_name: variable(intern!(py, "SCRIPT_NAME"))?,
            method: variable(intern!(py, "REQUEST_METHOD"))?,
            protocol: variable(intern!(py, "SERVER_PROTOCOL"))?,
            scheme: variable(intern!(py, "wsgi.url_scheme"))?,
            target: None,
            server_name: variable(intern!(py, "SERVER_NAME"))?,
            server_port: variable(intern!(py, "SERVER_PORT"))?,
            local_port: None,
            remote_ip: None,
            remote_port: None,
            base: base.clone().unbind(),
        };
        for placeholder in 0..PLACEHOLDERS {
            base.del_item(placeholder.to_string())?;
        }
        Ok(builder)
    }

    /// The environ of one request; `input` is its body, if it has one.
    pub(crate) fn build<'a, 'py, H>(
        &mut self,
        py: Python<'py>,
        request: Request<'a, H>,
        input: Option<Bound<'py, Input>>,
    ) -> Result<Bound<'py, PyDict>, Fault>
    where
        H: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let base = self.base.bind(py).clone();
        self.method.set(&base, request.method.as_bytes())?;
        self.protocol.set(&base, request.version.as_bytes())?;
        self.scheme.set(&base, request.scheme.as_str().as_bytes())?;
        self.set_mount(&base, request.script_name)?;
        self.set_target(&base, request.target)?;
        self.set_server(&base, &request)?;
        self.set_peer(&base, request.peer)?;
        let environ = base.copy()?;
        if let Some(input) = input {
            environ.set_item(intern!(py, "wsgi.input"), input)?;
        }
        for (name, value) in request.headers {
            self.headers.insert(&environ, name, value)?;
        }
        Ok(environ)
    }

    /// Must come before `set_target`, which takes the script name off the path.
    fn set_mount(&mut self, base: &Bound<'_, PyDict>, script_name: Option<&[u8]>) -> PyResult<()> {
        let mut script_name = script_name.unwrap_or(&self.default_script_name);
        while let Some(shorter) = script_name.strip_suffix(b"/") {
            script_name = shorter;
        }
        if self.script_name.bytes != script_name {
            self.target = None;
            self.script_name.set(base, script_name)?;
        }
        Ok(())
    }

    fn set_target(&mut self, base: &Bound<'_, PyDict>, target: &[u8]) -> Result<(), Fault> {
        if self.target.as_deref() == Some(target) {
            return Ok(());
        }
        let py = base.py();
        // Should one of these fail, none of them is taken for the target's.
        let mut kept = self.target.take().unwrap_or_default();
        let parts = Target::parse(target);
        let path = parts.decoded_path();
        let script_name = self.script_name.bytes.as_slice();
        let path_info = path
            .strip_prefix(script_name)
            // gunicorn takes /apple for a path below /app.
            .filter(|rest| rest.is_empty() || rest.starts_with(b"/") || script_name.is_empty())
            .ok_or(Fault::Violation(Violation::OutsideScriptName))?;
        base.set_item(intern!(py, "PATH_INFO"), ffi::latin1(py, path_info)?)?;
        base.set_item(intern!(py, "QUERY_STRING"), ffi::latin1(py, parts.query)?)?;
        base.set_item(intern!(py, "RAW_URI"), ffi::latin1(py, target)?)?;
        kept.clear();
        kept.extend_from_slice(target);
        self.target = Some(kept);
        Ok(())
    }

    fn set_server<'a, H>(
        &mut self,
        base: &Bound<'_, PyDict>,
        request: &Request<'a, H>,
    ) -> PyResult<()>
    where
        H: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        match request.local {
            Local::Tcp { address, port } => {
                self.server_name.set(base, address.as_bytes())?;
                if self.local_port != Some(port) {
                    self.server_port.set(base, port.to_string().as_bytes())?;
                    self.local_port = Some(port);
                }
            }
            Local::Unix => {
                self.local_port = None;
                let is_host = |&(name, _): &(&[u8], _)| name.eq_ignore_ascii_case(b"Host");
                let host = request.headers.clone().find(is_host).map_or(&b""[..], |(_, host)| host);
                let (name, port) = split_host(host);
                let default = request.scheme.default_port().as_bytes();
                self.server_name.set(base, if name.is_empty() { b"localhost" } else { name })?;
                self.server_port.set(base, if port.is_empty() { default } else { port })?;
            }
        }
        Ok(())
    }

    fn set_peer(&mut self, base: &Bound<'_, PyDict>, peer: Option<SocketAddr>) -> PyResult<()> {
        let (ip, port) = (peer.map(|peer| peer.ip()), peer.map(|peer| peer.port()));
        if self.remote_ip != ip {
            let text = ip.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
            base.set_item(intern!(base.py(), "REMOTE_ADDR"), text)?;
            self.remote_ip = ip;
        }
        if self.remote_port != port {
            let key = intern!(base.py(), "REMOTE_PORT");
            match port {
                Some(port) => base.set_item(key, port.to_string())?,
                None => base.del_item(key)?,
            }
            self.remote_port = port;
        }
        Ok(())
    }
}

/// A variable of `base` and the bytes that it was made of.
struct Variable {
    key: Py<PyString>,
    bytes: Vec<u8>,
}

impl Variable {
    /// Sets it to the empty string.
    fn new(base: &Bound<'_, PyDict>, key: &Bound<'_, PyString>) -> PyResult<Self> {
        base.set_item(key, "")?;
        Ok(Self { key: key.clone().unbind(), bytes: Vec::new() })
    }

    fn set(&mut self, base: &Bound<'_, PyDict>, bytes: &[u8]) -> PyResult<()> {
        if self.bytes != bytes {
            base.set_item(&self.key, ffi::latin1(base.py(), bytes)?)?;
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// Host and port of a `Host` field (RFC 9110 §7.2); either may be empty.
fn split_host(host: &[u8]) -> (&[u8], &[u8]) {
    // The colons of an IPv6 address are inside its brackets.
    let colon = host.iter().rposition(|&byte| byte == b':' || byte == b']');
    match colon.map(|at| host.split_at(at)) {
        Some((name, [b':', port @ ..])) => (name, port),
        _ => (host, b""),
    }
}

/// With the sixteen variables that `new` sets, enough for CPython to make the dictionary one of 42
/// entries; more would make copies slow, because a dictionary is copied entry by entry if a third of
/// it was deleted.
const PLACEHOLDERS: usize = 6;
