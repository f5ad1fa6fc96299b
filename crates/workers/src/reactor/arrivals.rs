//! New connections: which worker takes them, and when.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use rgunicorn_arbiter::Connection;

use super::{Life, MAIL, Reactor};
use crate::access::RequestLog;
use crate::client::Client;
use crate::poller::{Interest, Token};
use crate::serve::Job;
use crate::slots::Phase;
use crate::socket::Socket;
use crate::stream::Stream;

impl<L: RequestLog> Reactor<L> {
    pub(super) fn listener_of(&self, token: Token) -> Option<usize> {
        let index = usize::try_from(MAIL.0 - token.0).ok()?.checked_sub(1)?;
        (index < self.context.locals.len()).then_some(index)
    }

    pub(super) fn listen(&mut self) -> io::Result<()> {
        if !self.listening && self.life == Life::Running && self.has_room() {
            self.listening = true;
            for (listener, number) in self.process.listeners().iter().zip(1..) {
                let token = Token(MAIL.0 - number);
                self.context.poller.add(listener, token, Interest::ReadExclusive)?;
            }
            self.watch_mailbox()?;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.slots.len() < self.context.options.connections
    }

    pub(super) fn unlisten(&mut self) -> io::Result<()> {
        if self.listening {
            self.listening = false;
            for listener in self.process.listeners() {
                self.context.poller.delete(listener)?;
            }
            self.ignore_mailbox()?;
        }
        Ok(())
    }

    /// Takes connections until one of them brings a complete request.
    pub(super) fn accept_incoming(&mut self) -> io::Result<Option<Job>> {
        for listener in 0..self.process.listeners().len() {
            for _ in 0..self.accepts_per_turn() {
                if !self.listening {
                    return Ok(None);
                }
                let Some(token) = self.accept(listener)? else { break };
                // Its request is usually here already, and then the poller never learns of a
                // connection that lives for one response.
                if let Some(job) = self.hear(token) {
                    self.incoming.connections = true;
                    return Ok(Some(job));
                }
            }
        }
        Ok(None)
    }

    /// Lets in at most `limit` of those who wait at each listener, behind all who are here.
    pub(super) fn enqueue_incoming(&mut self, limit: usize) -> io::Result<()> {
        for listener in 0..self.process.listeners().len() {
            for _ in 0..limit {
                if !self.has_room() {
                    return Ok(());
                }
                let Some(token) = self.accept(listener)? else { break };
                self.enqueue(token);
            }
        }
        Ok(())
    }

    /// With siblings it is one: whatever waits behind it may be theirs.
    pub(super) fn accepts_per_turn(&self) -> usize {
        if self.process.workers() > 1 { 1 } else { ACCEPTS_PER_TURN }
    }

    /// Accepts one connection, which is then to be heard. `None`: nobody is waiting.
    fn accept(&mut self, listener: usize) -> io::Result<Option<Token>> {
        loop {
            let Some(socket) = self.process.listeners().get(listener) else { return Ok(None) };
            match socket.accept() {
                Ok(connection) => return self.admit(connection, listener).map(Some),
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => return Ok(None),
                    // The client has gone before we came; accept(2) says to treat these like EAGAIN.
                    Some(Errno::ECONNABORTED | Errno::EINTR | Errno::EPROTO) => {}
                    _ => return self.pause_accepting(&error).map(|()| None),
                },
            }
        }
    }

    fn admit(&mut self, connection: Connection, listener: usize) -> io::Result<Token> {
        let stream = Stream::from(connection);
        let peer = stream.peer_addr();
        let (token, socket) = self.reserve(stream);
        let local = self.context.local(listener);
        let client = Client::new(socket, peer, local, token, Arc::clone(&self.context));
        self.slots.put(token, client, Phase::Idle);
        if !self.has_room() {
            self.unlisten()?;
        }
        Ok(token)
    }

    /// The place of a connection, where it is to be put.
    pub(super) fn reserve(&mut self, stream: Stream) -> (Token, Arc<Socket>) {
        let token = self.slots.reserve();
        let socket = Arc::new(Socket::new(stream, token, Arc::clone(&self.context.poller)));
        self.slots.set_socket(token, Arc::clone(&socket));
        (token, socket)
    }

    fn pause_accepting(&mut self, error: &io::Error) -> io::Result<()> {
        log::error!("cannot accept a connection, trying again in 100 ms: {error}");
        self.unlisten()?;
        self.resume = Some(self.now + ACCEPT_PAUSE);
        Ok(())
    }
}

/// Connections accepted in one turn, each of them read and, if its request is there, served at
/// once.
const ACCEPTS_PER_TURN: usize = 64;

/// Without descriptors nobody can be accepted; others may close some meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
