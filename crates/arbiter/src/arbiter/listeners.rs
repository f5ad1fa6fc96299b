//! The set of listeners, and how a reload changes it: new ones are there before old ones go.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use socket2::Socket;

use super::logging::log_report;
use crate::inherit::Sockets;
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
    /// systemd chose them, and no reload changes that.
    is_activated: bool,
    /// Another arbiter serves at the same sockets: their files are not to be removed, nor their
    /// queues cut off.
    is_shared: bool,
}

impl Listeners {
    /// Takes over what the process was started with and binds the rest; an address in use is tried
    /// again as often as gunicorn does. `None` when a signal asked to stop in the meantime.
    pub(super) fn open(
        options: &Options,
        inherited: Sockets,
        signals: &mut Signals,
    ) -> Result<Option<Self>, Error> {
        let mut passed = match inherited {
            Sockets::Activated(sockets) => return Self::activated(options, sockets).map(Some),
            Sockets::None => Vec::new(),
            Sockets::Passed(sockets) => sockets,
        };
        let mut open = Vec::new();
        for address in &options.addresses {
            let is_reserved = options.reuse_port && matches!(address, Address::Tcp { .. });
            let place = passed.iter().position(|socket| Listener::is_at(socket, address));
            let listener = match place.filter(|_| !is_reserved) {
                Some(place) => {
                    Listener::passed(passed.swap_remove(place), address, options.backlog)
                        .map_err(|error| refuse(address, error))?
                }
                None => match bind_with_retry(address, options, signals)? {
                    Some(listener) => listener,
                    None => return Ok(None),
                },
            };
            open.push(listener);
        }
        let current = options.addresses.clone();
        Ok(Some(Self { open, current, previous: None, is_activated: false, is_shared: false }))
    }

    fn activated(options: &Options, sockets: Vec<Socket>) -> Result<Self, Error> {
        let adopt = |socket| Listener::activated(socket, options.backlog);
        let open: Vec<Listener> = sockets.into_iter().map(adopt).collect::<io::Result<_>>()?;
        let current = open.iter().map(|listener| listener.requested().clone()).collect();
        Ok(Self { open, current, previous: None, is_activated: true, is_shared: false })
    }

    /// Binds what is new in `options`, for workers to come. Nothing is closed yet. Says whether
    /// anything changes.
    pub(super) fn rebind(&mut self, options: &Options) -> Result<bool, Error> {
        if self.is_activated || options.addresses == self.current {
            return Ok(false);
        }
        let is_open = |address: &Address| self.open.iter().any(|open| open.requested() == address);
        let mut opened = Vec::new();
        for address in options.addresses.iter().filter(|address| !is_open(address)) {
            let listener = Listener::bind(address, options);
            opened.push(listener.map_err(|error| refuse(address, error))?);
        }
        self.open.append(&mut opened);
        self.previous = Some(std::mem::replace(&mut self.current, options.addresses.clone()));
        self.sort();
        Ok(true)
    }

    /// The reload succeeded: what only the old workers needed is closed here, and by each of them
    /// when nobody waits there any more.
    pub(super) fn keep_current(&mut self) {
        self.previous = None;
        if !self.is_shared {
            for gone in self.open.iter().filter(|open| !self.current.contains(open.requested())) {
                gone.turn_away();
            }
        }
        self.open.retain(|listener| self.current.contains(listener.requested()));
    }

    /// The reload failed: what only the new workers needed is closed.
    pub(super) fn restore_previous(&mut self) {
        if let Some(previous) = self.previous.take() {
            self.current = previous;
            self.open.retain(|listener| self.current.contains(listener.requested()));
            self.sort();
        }
    }

    /// The arbiter's own copies. Workers that finish their work hold theirs until the queues are
    /// empty; `graceful`: nobody is let in any more, so that they do become empty.
    pub(super) fn close(&mut self, graceful: bool) {
        if graceful && !self.is_shared {
            self.open.iter().for_each(Listener::turn_away);
        }
        self.open.clear();
    }

    /// Whether another arbiter serves at the same sockets.
    pub(super) fn share(&mut self, is_shared: bool) {
        self.is_shared = is_shared;
        for listener in &mut self.open {
            listener.remove_file_at_end(!is_shared);
        }
    }

    /// What another arbiter can go on with, and whether it is systemd's.
    pub(super) fn to_leave(&self) -> (Vec<BorrowedFd<'_>>, bool) {
        let passable = self.open.iter().filter(|listener| listener.can_be_passed());
        (passable.map(AsFd::as_fd).collect(), self.is_activated)
    }

    /// For a worker: what it shall accept from.
    pub(super) fn into_current(mut self) -> io::Result<Vec<Listener>> {
        self.open.retain(|listener| self.current.contains(listener.requested()));
        self.open.into_iter().map(Listener::for_worker).collect()
    }

    pub(super) fn as_slice(&self) -> &[Listener] {
        &self.open
    }

    pub(super) fn log(&self, scheme: &str) {
        let current =
            self.open.iter().filter(|listener| self.current.contains(listener.requested()));
        let urls: Vec<String> = current.map(|listener| listener.address().url(scheme)).collect();
        if !urls.is_empty() {
            log::info!(target: LOG, "Listening at: {} ({})", urls.join(","), std::process::id());
        }
    }

    /// Into the order of `current`, what is not in it last.
    fn sort(&mut self) {
        let place = |listener: &Listener| {
            self.current.iter().position(|address| address == listener.requested())
        };
        self.open.sort_by_key(|listener| place(listener).unwrap_or(usize::MAX));
    }
}

/// `None` when a signal asked to stop in the meantime.
fn bind_with_retry(
    address: &Address,
    options: &Options,
    signals: &mut Signals,
) -> Result<Option<Listener>, Error> {
    for _ in 1..ATTEMPTS {
        match Listener::bind(address, options) {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) if is_in_use(&error) => log_in_use(address),
            Err(error) => return Err(refuse(address, error)),
        }
        if stop_asked_within(RETRY_DELAY, signals)? {
            return Ok(None);
        }
    }
    Listener::bind(address, options).map(Some).map_err(|error| refuse(address, error))
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
                log_report(&Report::Handling(signal));
                return Ok(true);
            }
        }
    }
}

const ATTEMPTS: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_secs(1);
