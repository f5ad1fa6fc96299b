//! Both logs of the server, and who may change them when.

use std::cell::RefCell;
use std::rc::Rc;

use rgunicorn_workers::{Record, RequestLog};

use crate::access_log::AccessLog;
use crate::logging::{self, LogFileError, Logger};
use crate::settings::Settings;

/// Both logs: what `SIGUSR1` reopens.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    access: Option<AccessLog>,
    error: &'static Logger,
}

impl Logs {
    /// Opens both, or changes neither.
    ///
    /// # Errors
    ///
    /// One of them cannot be opened for writing.
    pub(crate) fn open(settings: &Settings) -> Result<Self, LogFileError> {
        // The error log last: the process has but one, and it changes in place.
        Ok(Self { access: AccessLog::open(settings)?, error: logging::init(settings)? })
    }
}

impl RequestLog for Logs {
    fn request_done(&self, record: &Record<'_>) {
        if let Some(access) = &self.access {
            access.request_done(record);
        }
    }

    fn reopen(&self) {
        let access = self.access.as_ref().map_or(Ok(()), AccessLog::reopen);
        for result in [self.error.reopen(), access] {
            if let Err(error) = result {
                log::error!("{error}");
            }
        }
    }
}

/// The logs as they are now, for the arbiter's two halves: a reload changes them, and later ones
/// reopen them. Workers take a copy.
#[derive(Clone, Debug)]
pub(crate) struct SharedLogs(Rc<RefCell<Logs>>);

impl SharedLogs {
    pub(crate) fn new(logs: Logs) -> Self {
        Self(Rc::new(RefCell::new(logs)))
    }

    pub(crate) fn current(&self) -> Logs {
        self.0.borrow().clone()
    }

    pub(crate) fn replace(&self, logs: Logs) {
        *self.0.borrow_mut() = logs;
    }
}
