//! A response that is too large to be kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::DEADLINE;

/// Asks for a large response on a connection of its own and shows each piece of its body, with
/// its position, to `look`. Returns the length of the body, which must be what the head says.
pub fn download(address: SocketAddr, target: &str, mut look: impl FnMut(u64, &[u8])) -> u64 {
    let mut stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut stream = BufReader::with_capacity(256 << 10, stream);
    let announced = read_head(&mut stream);
    let mut position = 0;
    loop {
        let piece = stream.fill_buf().expect("the response goes on");
        if piece.is_empty() {
            assert_eq!(position, announced, "the length of the body");
            return position;
        }
        look(position, piece);
        let length = piece.len();
        stream.consume(length);
        position += length as u64;
    }
}

/// Reads a head that must be one of success, and returns the content's length.
fn read_head(stream: &mut impl BufRead) -> u64 {
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        let length = stream.take(8 << 10).read_line(&mut line).expect("a head");
        assert!(length > 0, "the head ends early: {head:?}");
        head.push_str(&line);
    }
    assert!(head.starts_with("HTTP/1.1 200 "), "{head:?}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.and_then(|length| length.parse().ok()).expect("a length")
}
