//! A look at a call from Python's side.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Sees of a call what its [`Exchange`](crate::Exchange) cannot: the environ, as the application
/// leaves it. `()` looks at nothing and costs nothing.
///
/// ```
/// use rgunicorn_wsgi::Observer;
/// use rgunicorn_wsgi::pyo3::prelude::*;
/// use rgunicorn_wsgi::pyo3::types::PyDict;
///
/// /// Remembers who had been authenticated.
/// #[derive(Default)]
/// struct User(Option<String>);
///
/// impl Observer for User {
///     fn after(&mut self, environ: &Bound<'_, PyDict>) {
///         let user = environ.get_item("REMOTE_USER").ok().flatten();
///         self.0 = user.and_then(|user| user.extract().ok());
///     }
/// }
/// ```
pub trait Observer {
    /// The application is done, well or not, and what it returned is sent but not closed: gunicorn
    /// writes its access log then. Not called for a request that never reached the application.
    fn after(&mut self, environ: &Bound<'_, PyDict>) {
        let _ = environ;
    }
}

impl Observer for () {}
