//! Lines of the log.

use std::fmt;

use crate::error::Chain;
use crate::{HookError, LOG, LOG_CRITICAL, Report, Severity};

pub(super) fn log_report(report: &Report) {
    log_at(report.severity(), format_args!("{report}"));
}

pub(super) fn log_at(severity: Severity, message: fmt::Arguments<'_>) {
    match severity {
        Severity::Debug => log::debug!(target: LOG, "{message}"),
        Severity::Info => log::info!(target: LOG, "{message}"),
        Severity::Warning => log::warn!(target: LOG, "{message}"),
        Severity::Error => log::error!(target: LOG, "{message}"),
        Severity::Critical => log::error!(target: LOG_CRITICAL, "{message}"),
    }
}

pub(super) fn log_hook(name: &str, result: Result<(), HookError>) {
    if let Err(error) = result {
        log::error!(target: LOG, "{name}: {}", Chain(&error));
    }
}
