//! What travels arrives, and nothing else is taken for it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn passengers() -> impl Strategy<Value = Passenger> {
    let peer = prop_oneof![
        Just(None),
        any::<(u32, u16)>()
            .prop_map(|(ip, port)| Some(SocketAddrV4::new(Ipv4Addr::from_bits(ip), port).into())),
        any::<(u128, u16, u32, u32)>().prop_map(|(ip, port, flowinfo, scope_id)| {
            Some(SocketAddrV6::new(Ipv6Addr::from_bits(ip), port, flowinfo, scope_id).into())
        }),
    ];
    let patience = (any::<u64>(), any::<bool>()).prop_map(|(milliseconds, is_idle)| {
        let moment = Moment::from_millis(milliseconds);
        if is_idle { Patience::Idle { since: moment } } else { Patience::Head { deadline: moment } }
    });
    let flags = any::<(bool, bool, bool, bool)>();
    let input = vec(any::<u8>(), 0..=INPUT_LIMIT);
    ("\\PC{0,99}", input, patience, peer, flags, any::<u64>()).prop_map(
        |(local, input, patience, peer, (closing, continue_sent, eof, readable), requests)| {
            let parts = Parts { closing, continue_sent, eof, input: input.into() };
            Passenger { local, parts, patience, peer, readable, requests }
        },
    )
}

fn passenger() -> Passenger {
    Passenger {
        local: "127.0.0.1:8000".to_owned(),
        parts: Parts { input: Bytes::from_static(b"GET / HT"), ..Parts::default() },
        patience: Patience::Head { deadline: Moment::from_millis(123_456) },
        peer: Some("[2001:db8::1]:4711".parse().unwrap()),
        readable: true,
        requests: 3,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_is_read_back(passenger in passengers()) {
        let message = passenger.encode().unwrap();
        prop_assert!(message.len() <= MESSAGE_LIMIT);
        prop_assert_eq!(Passenger::decode(&message), Ok(passenger));
    }

    #[test]
    fn no_part_of_a_message_is_one(passenger in passengers(), cut in any::<prop::sample::Index>()) {
        let message = passenger.encode().unwrap();
        let part = &message[..cut.index(message.len())];
        let is_short = matches!(Passenger::decode(part), Err(MessageError::Short { .. }));
        prop_assert!(is_short);
    }

    #[test]
    fn anything_may_arrive(
        mut message in vec(any::<u8>(), 0..200),
        begins_well in any::<bool>(),
    ) {
        if let (true, Some(first)) = (begins_well, message.first_mut()) {
            *first = VERSION;
        }
        // Whatever is taken for a message says all that there is in it.
        if let Ok(passenger) = Passenger::decode(&message) {
            prop_assert_eq!(passenger.encode().unwrap(), message);
        }
    }
}

#[test]
fn wrong_messages() {
    let right = passenger().encode().unwrap();
    let with = |position: usize, byte: u8| {
        let mut message = right.clone();
        message[position] = byte;
        Passenger::decode(&message)
    };
    // The peer's kind follows version, flags, requests and patience; 26 bytes more are its address.
    let (peer, local) = (18, 18 + 27);
    for (result, expected) in [
        (Passenger::decode(&[]), "1 bytes are missing"),
        (with(0, 2), "version 2 is not 1"),
        (with(1, 0x80), "the flags 0b10000000 have no meaning"),
        (with(peer, 5), "a peer's address of kind 5 is unknown"),
        (with(local + 1, 3), "782 bytes of a listener's address are more than 512"),
        (with(local + 2, 0xff), "the listener's address is not UTF-8"),
        (with(right.len() - 9, 17), "4360 bytes of input are more than 4096"),
        (with(right.len() - 10, 9), "1 bytes are missing"),
        (with(right.len() - 10, 7), "1 bytes follow its end"),
    ] {
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}

#[test]
fn what_is_too_long_does_not_leave() {
    let mailbox = Mailbox::new().unwrap();
    let (_, stream) = UnixStream::pair().unwrap();
    let stream = Stream::Unix(stream);
    let mut long = passenger();
    long.parts.input = vec![b'a'; INPUT_LIMIT + 1].into();
    assert_eq!(send(&mailbox, &stream, &long).unwrap(), Departure::TooLong);
    long.parts.input = vec![b'a'; INPUT_LIMIT].into();
    long.local = "a".repeat(LOCAL_LIMIT);
    assert_eq!(send(&mailbox, &stream, &long).unwrap(), Departure::Sent);
    assert!(receive(&mailbox).unwrap().unwrap().1 == long);
    long.local.push('a');
    assert_eq!(send(&mailbox, &stream, &long).unwrap(), Departure::TooLong);
    assert!(receive(&mailbox).unwrap().is_none());
}

#[test]
fn a_full_mailbox_keeps_what_it_has() {
    let mailbox = Mailbox::new().unwrap();
    let (_, stream) = UnixStream::pair().unwrap();
    let stream = Stream::Unix(stream);
    let mut numbered = passenger();
    let mut sent = 0;
    for number in 0..1_000_000 {
        numbered.requests = number;
        match send(&mailbox, &stream, &numbered).unwrap() {
            Departure::Sent => sent += 1,
            Departure::Full => break,
            Departure::TooLong => unreachable!("it is short"),
        }
    }
    assert!(sent < 1_000_000);
    for number in 0..sent {
        assert_eq!(receive(&mailbox).unwrap().unwrap().1.requests, number);
    }
    assert!(receive(&mailbox).unwrap().is_none());
}

#[test]
fn sockets_of_both_kinds_arrive() {
    let mailbox = Mailbox::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (tcp_accepted, tcp_peer) = listener.accept().unwrap();
    let (unix, unix_accepted) = UnixStream::pair().unwrap();

    let by_tcp = Passenger { peer: Some(tcp_peer), ..passenger() };
    let by_unix = Passenger { peer: None, ..passenger() };
    for (stream, passenger) in
        [(Stream::Tcp(tcp_accepted), &by_tcp), (Stream::Unix(unix_accepted), &by_unix)]
    {
        assert_eq!(send(&mailbox, &stream, passenger).unwrap(), Departure::Sent);
    }
    for (mut client, sent) in
        [(Box::new(&tcp) as Box<dyn ReadWrite>, by_tcp), (Box::new(&unix), by_unix)]
    {
        let (stream, arrived) = receive(&mailbox).unwrap().unwrap();
        assert_eq!(stream.peer_addr(), sent.peer);
        assert_eq!(arrived, sent);
        client.write_all(b"to the server").unwrap();
        let mut buffer = [0; 13];
        assert_eq!(stream.read(&mut buffer).unwrap(), 13);
        assert_eq!(stream.write(b"to the client").unwrap(), 13);
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"to the client");
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn what_is_not_understood_is_closed() {
    let mailbox = Mailbox::new().unwrap();
    let message = passenger().encode().unwrap();
    let (mut client, stream) = UnixStream::pair().unwrap();
    mailbox.send(stream.as_fd(), b"nonsense").unwrap();
    drop(stream);
    let (datagram, _) = std::os::unix::net::UnixDatagram::pair().unwrap();
    mailbox.send(datagram.as_fd(), &message).unwrap();
    mailbox.send(File::open("/dev/null").unwrap().as_fd(), &message).unwrap();
    for _ in 0..3 {
        assert!(receive(&mailbox).unwrap().is_none());
    }
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "closed");
    assert!(REPORTED.load(Ordering::Relaxed));

    let (_, stream) = UnixStream::pair().unwrap();
    send(&mailbox, &Stream::Unix(stream), &passenger()).unwrap();
    assert!(receive(&mailbox).unwrap().is_some(), "the mailbox goes on");
}
