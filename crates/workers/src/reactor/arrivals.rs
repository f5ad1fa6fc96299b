//! New connections: which worker takes them, and when.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use rgunicorn_arbiter::Connection;

use super::{Life, Reactor, WAKE};
use crate::access::RequestLog;
use crate::client::Client;
use crate::handler::Handler;
use crate::poller::{Interest, Token};
use crate::stream::Stream;

impl<H: Handler, L: RequestLog> Reactor<'_, H, L> {
    pub(super) fn listener_of(&self, token: Token) -> Option<usize> {
        let index = usize::try_from(WAKE.0 - token.0).ok()?.checked_sub(1)?;
        (index < self.context.locals.len()).then_some(index)
    }

    pub(super) fn listen(&mut self) -> io::Result<()> {
        if !self.listening && self.life == Life::Running {
            self.listening = true;
            for (listener, number) in self.process.listeners().iter().zip(1..) {
                let token = Token(WAKE.0 - number);
                self.context.poller.add(listener, token, Interest::ReadExclusive)?;
            }
        }
        Ok(())
    }

    pub(super) fn unlisten(&mut self) -> io::Result<()> {
        if self.listening {
            self.listening = false;
            for listener in self.process.listeners() {
                self.context.poller.delete(listener)?;
            }
        }
        Ok(())
    }

    pub(super) fn accept_incoming(&mut self, busy: bool) -> io::Result<()> {
        if self.siblings && busy {
            let since = *self.deferred.get_or_insert(self.now);
            if self.now.saturating_duration_since(since) < ACCEPT_DEFERRAL {
                return Ok(());
            }
        }
        self.deferred = None;
        let accepts = if self.siblings { 1 } else { ACCEPTS_PER_TURN };
        for listener in 0..self.process.listeners().len() {
            for _ in 0..accepts {
                if !self.listening || !self.accept(listener)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Accepts one connection and reads it at once: its request is usually here already, and then
    /// the poller never learns of a connection that lives for one response. `false`: nobody is waiting.
    pub(super) fn accept(&mut self, listener: usize) -> io::Result<bool> {
        let Some(socket) = self.process.listeners().get(listener) else { return Ok(false) };
        let connection = match socket.accept() {
            Ok(connection) => connection,
            Err(error) => return self.accept_failed(&error),
        };
        let token = self.slots.reserve();
        let client = self.client(connection, listener, token);
        if self.slots.len() >= self.context.options.connections {
            self.unlisten()?;
        }
        self.read(token, client);
        Ok(true)
    }

    fn client(&self, connection: Connection, listener: usize, token: Token) -> Client {
        let stream = Stream::from(connection);
        let peer = stream.peer_addr();
        Client::new(stream, peer, listener, token, Arc::clone(&self.context))
    }

    fn accept_failed(&mut self, error: &io::Error) -> io::Result<bool> {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN) => Ok(false),
            // The client has gone before we came; accept(2) says to treat these like EAGAIN.
            Some(Errno::ECONNABORTED | Errno::EINTR | Errno::EPROTO) => Ok(true),
            _ => {
                log::error!("cannot accept a connection, trying again in 100 ms: {error}");
                self.unlisten()?;
                self.resume = Some(self.now + ACCEPT_PAUSE);
                Ok(false)
            }
        }
    }
}

/// Connections accepted in one turn, each of them read and, if its request is there, served at
/// once. With siblings it is one: whatever waits behind it may be theirs.
const ACCEPTS_PER_TURN: usize = 64;

/// A worker with requests to run leaves new connections to its siblings, but not for longer.
const ACCEPT_DEFERRAL: Duration = Duration::from_millis(10);

/// Without descriptors nobody can be accepted; others may close some meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
