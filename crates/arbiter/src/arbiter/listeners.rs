//! The set of listeners, and how a reload changes it: new ones are there before old ones go.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;

use super::master;
use crate::poll::wait_readable;
use crate::signals::Signals;
use crate::{Address, Error, LOG, Listener, Moment, Options, Report, Signal};

#[derive(Debug)]
pub(super) struct Listeners {
    /// All that are open: those of `current`, and until a reload is settled those of `previous`.
    open: Vec<Listener>,
    /// What new workers get, in this order.
    current: Vec<Address>,
    /// What workers got before the reload that is under way.
    previous: Option<Vec<Address>>,
}

impl Listeners {
    /// Binds all addresses; one in use is tried again as often as gunicorn does. `None` when a
    /// signal asked to stop in the meantime.
    pub(super) fn bind_with_retry(
        options: &Options,
        signals: &mut Signals,
    ) -> Result<Option<Self>, Error> {
        let mut open = Vec::new();
        for address in &options.addresses {
            let mut attempts = 0;
            let listener = loop {
                attempts += 1;
                match Listener::bind(address, options) {
                    Ok(listener) => break listener,
                    Err(error) if is_in_use(&error) && attempts < ATTEMPTS => {
                        log_in_use(address);
                        if stop_asked_within(RETRY_DELAY, signals)? {
                            return Ok(None);
                        }
                    }
                    Err(error) => return Err(refuse(address, error)),
                }
            };
            open.push(listener);
        }
        Ok(Some(Self { open, current: options.addresses.clone(), previous: None }))
    }

    /// Binds what is new in `options`, for workers to come. Nothing is closed yet.
    pub(super) fn rebind(&mut self, options: &Options) -> Result<(), Error> {
        let is_open = |address: &Address| self.open.iter().any(|open| open.requested() == address);
        let mut opened = Vec::new();
        for address in options.addresses.iter().filter(|address| !is_open(address)) {
            let listener = Listener::bind(address, options);
            opened.push(listener.map_err(|error| refuse(address, error))?);
        }
        self.open.append(&mut opened);
        self.previous = Some(std::mem::replace(&mut self.current, options.addresses.clone()));
        self.sort();
        Ok(())
    }

    /// The reload succeeded: what only the old workers needed is closed.
    pub(super) fn keep_current(&mut self) {
        self.previous = None;
        self.open.retain(|listener| self.current.contains(listener.requested()));
    }

    /// The reload failed: what only the new workers needed is closed.
    pub(super) fn restore_previous(&mut self) {
        if let Some(previous) = self.previous.take() {
            self.current = previous;
            self.keep_current();
            self.sort();
        }
    }

    pub(super) fn close(&mut self) {
        self.open.clear();
    }

    /// For a worker: what it shall listen at.
    pub(super) fn into_current(mut self) -> Vec<Listener> {
        self.keep_current();
        self.open
    }

    pub(super) fn as_slice(&self) -> &[Listener] {
        &self.open
    }

    pub(super) fn log(&self, scheme: &str) {
        let current =
            self.open.iter().filter(|listener| self.current.contains(listener.requested()));
        let urls: Vec<String> = current.map(|listener| listener.address().url(scheme)).collect();
        log::info!(target: LOG, "Listening at: {} ({})", urls.join(","), std::process::id());
    }

    /// Into the order of `current`, what is not in it last.
    fn sort(&mut self) {
        let place = |listener: &Listener| {
            self.current.iter().position(|address| address == listener.requested())
        };
        self.open.sort_by_key(|listener| place(listener).unwrap_or(usize::MAX));
    }
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// In gunicorn's words, to which it adds the reason.
fn refuse(address: &Address, source: io::Error) -> Error {
    let name = address.python_repr();
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            log_in_use(address);
            log::error!(target: LOG, "Can't connect to {name}");
        }
        io::ErrorKind::AddrNotAvailable => log::error!(target: LOG, "Invalid address: {name}"),
        _ => log::error!(target: LOG, "Can't connect to {name}: {source}"),
    }
    Error::Bind { address: address.clone(), source }
}

/// In gunicorn's words, among them Python's for a system error.
fn log_in_use(address: &Address) {
    let name = address.python_repr();
    let (number, reason) = (Errno::EADDRINUSE as i32, Errno::EADDRINUSE.desc());
    log::error!(target: LOG, "Connection in use: {name}");
    log::error!(target: LOG, "connection to {name} failed: [Errno {number}] {reason}");
}

fn stop_asked_within(delay: Duration, signals: &mut Signals) -> io::Result<bool> {
    let deadline = Moment::now() + delay;
    loop {
        let remaining = deadline.saturating_since(Moment::now());
        if remaining.is_zero() {
            return Ok(false);
        }
        wait_readable([signals.as_fd()], Some(remaining))?;
        for signal in signals.pending().filter_map(Signal::from_number) {
            if matches!(signal, Signal::Int | Signal::Quit | Signal::Term) {
                master::log(&Report::Handling(signal));
                return Ok(true);
            }
        }
    }
}

const ATTEMPTS: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_secs(1);
