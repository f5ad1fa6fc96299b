//! A queue of descriptors between the workers of an arbiter.
//!
//! A worker that ends, or is busy, posts a connection; whichever sibling looks first takes it. The
//! arbiter keeps both ends open, so a message also waits while no worker lives that could take it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

/// Where the workers of one arbiter leave descriptors for each other: a `SOCK_SEQPACKET` socket
/// pair, see unix(7). Clones are the same mailbox, from any thread.
///
/// For a poller it is readable while a message waits; every worker that watches it wakes, unless
/// it watches with `EPOLLEXCLUSIVE`, and one of them receives.
///
/// ```
/// use std::fs::File;
/// use rgunicorn_arbiter::{Mailbox, WorkerError, WorkerProcess};
///
/// fn run(mut process: WorkerProcess) -> Result<(), WorkerError> {
///     process.ready()?;
///     let Some(mailbox) = process.mailbox() else { return Ok(()) };
///     let mut buffer = [0; Mailbox::PAYLOAD_MAX];
///     if let Some((connection, length)) = mailbox.receive(&mut buffer)? {
///         log::info!("a sibling leaves {connection:?} and {:?}", buffer.get(..length));
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Mailbox(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    post: OwnedFd,
    collect: OwnedFd,
}

impl Mailbox {
    /// The most bytes beside one descriptor: 8 KiB.
    pub const PAYLOAD_MAX: usize = 8192;

    /// A mailbox of one's own, for processes or threads that no arbiter started; an arbiter's
    /// workers have theirs by [`WorkerProcess::mailbox`](crate::WorkerProcess::mailbox).
    ///
    /// # Errors
    ///
    /// No two descriptors are left.
    pub fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (post, collect) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok(Self::from_fds(post, collect))
    }

    /// The mailbox of which these are the ends: of `post` one sends, of `collect` one receives.
    pub(crate) fn from_fds(post: OwnedFd, collect: OwnedFd) -> Self {
        Self(Arc::new(Ends { post, collect }))
    }

    /// Both ends, as `from_fds` wants them.
    pub(crate) fn as_fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.0.post.as_fd(), self.0.collect.as_fd()]
    }

    /// Leaves a copy of the descriptor for whoever looks first, and these bytes with it. The
    /// caller's own descriptor stays open.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the mailbox is full, which counts descriptors as well as bytes, and
    /// `InvalidInput` for more than [`PAYLOAD_MAX`](Self::PAYLOAD_MAX) bytes. It never waits.
    pub fn send(&self, descriptor: BorrowedFd<'_>, payload: &[u8]) -> io::Result<()> {
        if payload.len() > Self::PAYLOAD_MAX {
            let length = payload.len();
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{length} bytes are more than the {} of a message", Self::PAYLOAD_MAX),
            ));
        }
        let descriptors = [descriptor.as_raw_fd()];
        let message = [ControlMessage::ScmRights(&descriptors)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        loop {
            let post = self.0.post.as_raw_fd();
            match sendmsg::<()>(post, &[IoSlice::new(payload)], &message, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                // Too many descriptors are under way, by RLIMIT_NOFILE: full in another way.
                Err(Errno::ETOOMANYREFS) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the oldest message: its descriptor, close-on-exec, and how many bytes of `buffer` its
    /// payload fills. `None` when the mailbox is empty. It never waits.
    ///
    /// # Errors
    ///
    /// `InvalidData` when a message came with other than one descriptor, or was longer than
    /// `buffer`, or found this process without a free descriptor: it is lost, and the mailbox goes
    /// on with the next. Other errors concern the mailbox.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(OwnedFd, usize)>> {
        // Room for all that the kernel lets anyone send, so that none is cut off and leaks.
        let mut control = nix::cmsg_space!([i32; SCM_MAX_FD]);
        let collect = self.0.collect.as_raw_fd();
        let mut payload = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = loop {
            match recvmsg::<()>(collect, &mut payload, Some(&mut control), flags) {
                Ok(message) => break message,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        let mut descriptors = Vec::new();
        let control = message.cmsgs().map_err(|_| lost("no descriptor is free for it"))?;
        for part in control {
            if let ControlMessageOwned::ScmRights(received) = part {
                descriptors.extend(received.into_iter().map(own));
            }
        }
        if message.flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(lost("it is longer than the buffer"));
        }
        match <[OwnedFd; 1]>::try_from(descriptors) {
            Ok([descriptor]) => Ok(Some((descriptor, message.bytes))),
            Err(_) => Err(lost("it does not hold one descriptor")),
        }
    }
}

impl AsFd for Mailbox {
    /// The end that is readable while a message waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.collect.as_fd()
    }
}

fn lost(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message is lost: {why}"))
}

fn own(received: i32) -> OwnedFd {
    #[expect(unsafe_code, reason = "nix gives received descriptors as numbers")]
    // SAFETY: the kernel opened it for this process in the recvmsg(2) that named it, once, so
    // nobody else owns it.
    unsafe {
        OwnedFd::from_raw_fd(received)
    }
}

/// The most descriptors that one message can hold, unix(7).
const SCM_MAX_FD: usize = 253;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::fd::RawFd;

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn post(mailbox: &Mailbox, payload: &[u8], descriptors: &[RawFd]) {
        let control = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() { &[][..] } else { &control[..] };
        let payload = [IoSlice::new(payload)];
        let flags = MsgFlags::empty();
        sendmsg::<()>(mailbox.0.post.as_raw_fd(), &payload, control, flags, None).unwrap();
    }

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn messages_arrive_in_order() {
        let mailbox = Mailbox::new().unwrap();
        let mut buffer = [0; Mailbox::PAYLOAD_MAX];
        assert!(mailbox.receive(&mut buffer).unwrap().is_none());
        let long = [b'x'; Mailbox::PAYLOAD_MAX];
        for payload in [&b"one"[..], b"", &long] {
            mailbox.clone().send(file("content").as_fd(), payload).unwrap();
        }
        for payload in [&b"one"[..], b"", &long] {
            let (descriptor, length) = mailbox.receive(&mut buffer).unwrap().unwrap();
            assert_eq!(&buffer[..length], payload);
            let mut text = String::new();
            File::from(descriptor).read_to_string(&mut text).unwrap();
            assert_eq!(text, "content");
        }
        assert!(mailbox.receive(&mut buffer).unwrap().is_none());
        let error = mailbox.send(file("").as_fd(), &[0; Mailbox::PAYLOAD_MAX + 1]).unwrap_err();
        assert_eq!(error.to_string(), "8193 bytes are more than the 8192 of a message");
    }

    #[test]
    fn a_full_mailbox_would_block() {
        let mailbox = Mailbox::new().unwrap();
        let file = file("");
        let error = (0..100_000).find_map(|_| mailbox.send(file.as_fd(), &[0; 1024]).err());
        assert_eq!(error.unwrap().kind(), io::ErrorKind::WouldBlock);
        mailbox.receive(&mut [0; 1024]).unwrap().unwrap();
        mailbox.send(file.as_fd(), &[0; 1024]).unwrap();
    }

    #[test]
    fn a_message_of_another_kind_is_lost_and_leaks_nothing() {
        let mailbox = Mailbox::new().unwrap();
        let file = file("");
        let raw = file.as_raw_fd();
        let before = open_descriptors();
        post(&mailbox, b"none", &[]);
        post(&mailbox, b"two", &[raw, raw]);
        post(&mailbox, b"many", &[raw; SCM_MAX_FD]);
        post(&mailbox, b"longer than the buffer", &[raw]);
        for why in ["one descriptor", "one descriptor", "one descriptor", "the buffer"] {
            let error = mailbox.receive(&mut [0; 16]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().ends_with(why), "{error}");
        }
        // Whatever other tests of this process open in the meantime is far less.
        assert!(open_descriptors() < before + 100);
        assert!(mailbox.receive(&mut [0; 16]).unwrap().is_none());
    }
}
