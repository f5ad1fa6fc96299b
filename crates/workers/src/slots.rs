//! The connections of one worker, by number.

use std::sync::Arc;
use std::time::Instant;

use crate::client::Client;
use crate::poller::Token;
use crate::socket::Socket;
use crate::timers::Deadline;

/// Where a connection stands while no handler has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// The body of a request is under way.
    Body,
    /// The head of a request is under way.
    Head,
    /// Between requests, or new: not one byte of a request is here.
    Idle,
    /// Answered for the last time; what the client still sends is thrown away.
    Lingering,
    /// A finished response is under way to a reader that is slower than we are.
    Writing,
}

/// A numbered place. Its number is used again, so a generation tells its tenants apart: an
/// event or a timer of an earlier one finds nobody.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Away while a handler has it.
    client: Option<Client>,
    pub(crate) deadline: Deadline,
    generation: u32,
    pub(crate) phase: Phase,
    /// Since when it waits in the queue of those that have something to read.
    pub(crate) ready_since: Option<Instant>,
    /// Of the connection, also while that is away.
    socket: Option<Arc<Socket>>,
}

/// A slab of connections.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    places: Vec<Slot>,
    free: Vec<u32>,
    /// `0 <= taken <= places.len()`
    taken: usize,
}

impl Slots {
    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    /// A place for a new connection, which is to be put there.
    pub(crate) fn reserve(&mut self) -> Token {
        self.taken += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            let (deadline, phase) = (Deadline::default(), Phase::Idle);
            let (client, ready_since, socket) = (None, None, None);
            let slot = Slot { client, deadline, generation: 0, phase, ready_since, socket };
            self.places.push(slot);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let generation = self.places.get(index as usize).map_or(0, |slot| slot.generation);
        Token(u64::from(generation) << 32 | u64::from(index))
    }

    /// Gives the place back, after its connection is gone.
    pub(crate) fn release(&mut self, token: Token) {
        let Some(slot) = self.get(token) else { return };
        slot.client = None;
        if let Some(socket) = slot.socket.take() {
            // Others may hold it a little longer, and its events find nobody here any more.
            socket.silence();
        }
        slot.deadline = Deadline::default();
        slot.phase = Phase::Idle;
        slot.ready_since = None;
        slot.generation = slot.generation.wrapping_add(1) & LIMIT_GENERATION;
        self.taken -= 1;
        self.free.push(index(token));
    }

    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.places.get_mut(index(token) as usize)?;
        (u64::from(slot.generation) == token.0 >> 32).then_some(slot)
    }

    /// Takes the connection out, so that a handler can own it.
    pub(crate) fn take(&mut self, token: Token) -> Option<(Client, Phase)> {
        let slot = self.get(token)?;
        let phase = slot.phase;
        Some((slot.client.take()?, phase))
    }

    pub(crate) fn put(&mut self, token: Token, client: Client, phase: Phase) {
        if let Some(slot) = self.get(token) {
            slot.client = Some(client);
            slot.phase = phase;
        }
    }

    /// Keeps the socket of a new connection.
    pub(crate) fn set_socket(&mut self, token: Token, socket: Arc<Socket>) {
        if let Some(slot) = self.get(token) {
            slot.socket = Some(socket);
        }
    }

    /// Whether the connection of this place stood there when it was last put back, and its
    /// patience runs.
    pub(crate) fn waits_in(&mut self, token: Token, phase: Phase) -> bool {
        self.get(token).is_some_and(|slot| slot.phase == phase && slot.deadline.is_set())
    }

    /// The connections that stand in this phase.
    pub(crate) fn in_phase(&self, phase: Phase) -> Vec<Token> {
        let slots = self.places.iter().zip(0_u64..);
        slots
            .filter(|(slot, _)| slot.phase == phase && slot.client.is_some())
            .map(|(slot, index)| Token(u64::from(slot.generation) << 32 | index))
            .collect()
    }
}

impl Slot {
    /// The socket of a connection that a handler has.
    pub(crate) fn socket_away(&self) -> Option<&Socket> {
        if self.client.is_some() { None } else { self.socket.as_deref() }
    }

    pub(crate) fn is_here(&self) -> bool {
        self.client.is_some()
    }
}

/// Generations stay below this, so that no connection has the number of a listener.
const LIMIT_GENERATION: u32 = u32::MAX >> 1;

#[expect(clippy::cast_possible_truncation, reason = "the lower half of a token is its index")]
fn index(token: Token) -> u32 {
    token.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_place_has_another_token() {
        let mut slots = Slots::default();
        let first = slots.reserve();
        assert!(slots.get(first).is_some());
        slots.release(first);
        slots.release(first);
        assert_eq!(slots.len(), 0);
        let second = slots.reserve();
        assert_eq!(index(first), index(second));
        assert_ne!(first, second);
        assert!(slots.get(first).is_none() && slots.take(second).is_none());
    }
}
