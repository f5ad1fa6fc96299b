//! The error log, in gunicorn's format.
//!
//! All crates log through the `log` facade; this is its sink. Two targets are special:
//! [`CRITICAL`] gives a record gunicorn's highest level, which `log` does not have, and
//! [`WSGI_ERRORS`] marks what an application wrote, which appears as it is.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use jiff::Zoned;
use log::{Level, LevelFilter, Log, Metadata, Record};

pub use crate::log_file::LogFileError;
use crate::log_file::{LogFile, Standard};
use crate::settings::{LogLevel, Settings};

/// The target of errors that appear as `CRITICAL`.
pub const CRITICAL: &str = "rgunicorn.critical";

/// The target of lines that an application wrote to `wsgi.errors`.
pub const WSGI_ERRORS: &str = "rgunicorn.wsgi.errors";

/// The error log of this process and of those that it forks.
#[derive(Debug)]
pub struct Logger {
    file: LogFile,
    level: AtomicU8,
    /// Standard output and standard error go to the file, too.
    captures: AtomicBool,
}

/// Opens the error log and makes it the process's logger.
///
/// A second call changes the first one's target and level, which is what SIGHUP needs.
///
/// # Errors
///
/// The file cannot be opened for writing. What was there before stays.
pub fn init(settings: &Settings) -> Result<&'static Logger, LogFileError> {
    static LOGGER: OnceLock<Logger> = OnceLock::new();
    if let Some(logger) = LOGGER.get() {
        logger.file.redirect(&settings.errorlog, settings.into())?;
        logger.set_level(settings.loglevel);
        logger.captures.store(settings.capture_output, Ordering::Relaxed);
        logger.capture()?;
        return Ok(logger);
    }
    let opened = Logger::open(settings)?;
    let logger = LOGGER.get_or_init(|| opened);
    logger.set_level(settings.loglevel);
    logger.capture()?;
    if log::set_logger(logger).is_err() {
        // The embedding program has a logger of its own, and records go there.
        log::debug!("another logger is installed");
    }
    Ok(logger)
}

impl Logger {
    fn open(settings: &Settings) -> Result<Self, LogFileError> {
        Ok(Self {
            file: LogFile::open(&settings.errorlog, Standard::Error, settings.into())?,
            level: AtomicU8::new(settings.loglevel as u8),
            captures: AtomicBool::new(settings.capture_output),
        })
    }

    /// Opens the file again, after logrotate has moved it away (SIGUSR1).
    ///
    /// # Errors
    ///
    /// The file cannot be opened; the old one goes on.
    pub fn reopen(&self) -> Result<(), LogFileError> {
        self.file.reopen()?;
        self.capture()
    }

    /// What was captured before stays so: the streams' own targets are gone.
    fn capture(&self) -> Result<(), LogFileError> {
        if self.captures.load(Ordering::Relaxed) {
            self.file.capture_standard_streams()?;
        }
        Ok(())
    }

    fn set_level(&self, level: LogLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
        // `log` has no level above its errors: `enabled` tells those apart.
        log::set_max_level(match level {
            LogLevel::Critical | LogLevel::Error => LevelFilter::Error,
            LogLevel::Debug => LevelFilter::Debug,
            LogLevel::Info => LevelFilter::Info,
            LogLevel::Warning => LevelFilter::Warn,
        });
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == WSGI_ERRORS
            || severity(metadata) as u8 >= self.level.load(Ordering::Relaxed)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = if record.target() == WSGI_ERRORS {
            format!("{}\n", record.args())
        } else {
            prefixed(record, &Zoned::now())
        };
        if self.file.write_line(line.as_bytes()).is_err() {
            // A full disk, say. Standard error may still lead somewhere: to the journal, to a
            // container's log. If not, there is nobody left to tell.
            io::stderr().write_all(line.as_bytes()).ok();
        }
    }

    fn flush(&self) {}
}

/// `[%Y-%m-%d %H:%M:%S %z] [pid] [LEVEL] message`, the time being local.
///
/// The pid is asked for each time: a worker is forked with the logger in place.
fn prefixed(record: &Record<'_>, now: &Zoned) -> String {
    let time = now.strftime("%Y-%m-%d %H:%M:%S %z");
    let level = severity(record.metadata()).to_string().to_uppercase();
    let pid = std::process::id();
    format!("[{time}] [{pid}] [{level}] {}\n", record.args())
}

fn severity(metadata: &Metadata<'_>) -> LogLevel {
    match metadata.level() {
        Level::Error if metadata.target() == CRITICAL => LogLevel::Critical,
        Level::Error => LogLevel::Error,
        Level::Warn => LogLevel::Warning,
        Level::Info => LogLevel::Info,
        Level::Debug | Level::Trace => LogLevel::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::LogTarget;

    /// What a log of this level holds after one record of each kind.
    fn written(level: LogLevel) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error.log");
        let settings = Settings {
            errorlog: LogTarget::File(path.clone()),
            loglevel: level,
            ..Settings::default()
        };
        let logger = Logger::open(&settings).unwrap();
        for (level, target, message) in [
            (Level::Debug, "x", "2 workers"),
            (Level::Info, "x", "Starting"),
            (Level::Warn, "x", "Careful"),
            (Level::Error, "x", "Traceback:\n  line"),
            (Level::Error, CRITICAL, "WORKER TIMEOUT (pid:1)"),
            (Level::Error, WSGI_ERRORS, "the application's own"),
        ] {
            let args = format_args!("{message}");
            let mut record = Record::builder();
            logger.log(&record.level(level).target(target).args(args).build());
        }
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_gunicorns() {
        let lines = written(LogLevel::Debug);
        let pid = std::process::id();
        let expected = [
            format!("[{pid}] [DEBUG] 2 workers"),
            format!("[{pid}] [INFO] Starting"),
            format!("[{pid}] [WARNING] Careful"),
            format!("[{pid}] [ERROR] Traceback:"),
            "  line".to_owned(),
            format!("[{pid}] [CRITICAL] WORKER TIMEOUT (pid:1)"),
            "the application's own".to_owned(),
        ];
        assert_eq!(lines.len(), expected.len());
        for (line, expected) in lines.iter().zip(&expected) {
            assert!(line.ends_with(expected), "{line:?}, not {expected:?}");
            if expected.starts_with('[') {
                let time = line.strip_suffix(expected.as_str()).unwrap().trim();
                let time = time.trim_matches(['[', ']']);
                jiff::fmt::strtime::parse("%Y-%m-%d %H:%M:%S %z", time).unwrap();
            }
        }
    }

    #[test]
    fn levels_filter_and_the_applications_lines_pass() {
        for (level, count) in [
            (LogLevel::Debug, 7),
            (LogLevel::Info, 6),
            (LogLevel::Warning, 5),
            (LogLevel::Error, 4),
            (LogLevel::Critical, 2),
        ] {
            assert_eq!(written(level).len(), count, "{level}");
        }
    }
}
