//! What every environ of an application has in common.

/// The part of the environ that is the server's choice and the same in all requests.
///
/// ```
/// use rgunicorn_wsgi::EnvironOptions;
///
/// let options = EnvironOptions::default().multithread(true).script_name("/shop");
/// assert_eq!(options.script_name, "/shop");
/// assert!(!options.multiprocess);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvironOptions {
    /// `SERVER_SOFTWARE`; `rgunicorn/` and the version by default.
    pub server_software: String,
    /// `wsgi.multithread`: whether another thread of this process may call the application at the
    /// same time. Off by default, as with gunicorn's one thread.
    pub multithread: bool,
    /// `wsgi.multiprocess`: whether another process may serve the same application. Off by default,
    /// as with gunicorn's one worker.
    pub multiprocess: bool,
    /// `SCRIPT_NAME`: where the application is mounted, with a slash at its beginning and none at its
    /// end. Empty by default. A request for a path that is not below it is refused with
    /// [`Violation::OutsideScriptName`](crate::Violation::OutsideScriptName).
    pub script_name: String,
}

impl Default for EnvironOptions {
    fn default() -> Self {
        Self {
            server_software: concat!("rgunicorn/", env!("CARGO_PKG_VERSION")).to_owned(),
            multithread: false,
            multiprocess: false,
            script_name: String::new(),
        }
    }
}

impl EnvironOptions {
    /// Sets [`server_software`](Self::server_software).
    #[must_use]
    pub fn server_software(mut self, server_software: impl Into<String>) -> Self {
        self.server_software = server_software.into();
        self
    }

    /// Sets [`multithread`](Self::multithread).
    #[must_use]
    pub fn multithread(mut self, multithread: bool) -> Self {
        self.multithread = multithread;
        self
    }

    /// Sets [`multiprocess`](Self::multiprocess).
    #[must_use]
    pub fn multiprocess(mut self, multiprocess: bool) -> Self {
        self.multiprocess = multiprocess;
        self
    }

    /// Sets [`script_name`](Self::script_name).
    #[must_use]
    pub fn script_name(mut self, script_name: impl Into<String>) -> Self {
        self.script_name = script_name.into();
        self
    }
}
