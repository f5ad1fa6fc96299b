//! A client that sends bytes and reads responses by their framing, without any leniency.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::wait::DEADLINE;

/// One connection.
///
/// ```no_run
/// use rgunicorn_tests::Client;
///
/// let mut client = Client::connect("127.0.0.1:8000".parse().unwrap());
/// client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
/// assert_eq!(client.receive().status, 200);
/// ```
#[derive(Debug)]
pub struct Client {
    stream: BufReader<Stream>,
}

/// One response, taken from the stream to its last byte.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// `HTTP/1.1`
    pub version: String,
    /// `200`
    pub status: u16,
    /// `OK`
    pub reason: String,
    /// Names and values as they came, in order.
    pub headers: Vec<(String, String)>,
    /// The content, without its chunk framing.
    pub body: Vec<u8>,
    /// The length of each chunk, if the response was chunked.
    pub chunks: Option<Vec<usize>>,
}

impl Client {
    /// Connects over TCP.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the server accepts connections")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self::new(Stream::Tcp(stream)))
    }

    /// This end of the connection; `None` for a Unix socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self.stream.get_ref() {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
        }
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the server accepts connections");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).expect("the server reads");
    }

    /// Sends bytes, unless the server has closed the connection.
    ///
    /// # Errors
    ///
    /// Whatever the kernel says, usually that the connection was reset.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn shut_down_sending(&mut self) {
        match self.stream.get_ref() {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }

    /// Sends a `GET` and reads its response; the connection stays usable if the server keeps it.
    pub fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.receive()
    }

    /// Sends a `POST` with a `Content-Length` and reads its response.
    pub fn post(&mut self, target: &str, body: &[u8]) -> Response {
        let length = body.len();
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
        ));
        self.send(body);
        self.receive()
    }

    /// Reads exactly one response, final or interim.
    pub fn receive(&mut self) -> Response {
        self.try_receive().expect("a complete response")
    }

    /// Reads exactly so many bytes, whatever they mean.
    pub fn receive_bytes(&mut self, length: usize) -> Vec<u8> {
        self.read_exactly(length).expect("as many bytes")
    }

    /// Reads exactly one response to a `HEAD`: its header fields tell of a body that never comes.
    pub fn receive_head(&mut self) -> Response {
        self.read_head().expect("a response head")
    }

    /// Reads exactly one response.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the connection ends before the response does, `InvalidData` when what
    /// comes is not HTTP/1.x (RFC 9112), otherwise what the kernel says.
    pub fn try_receive(&mut self) -> io::Result<Response> {
        let mut response = self.read_head()?;
        // RFC 9112 §6.3, in its order, without the rules for what only a client's own request says.
        if matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        if let Some(coding) = response.header("Transfer-Encoding") {
            if !coding.eq_ignore_ascii_case("chunked") {
                return Err(invalid(format!("transfer coding {coding:?}")));
            }
            self.read_chunks(&mut response)?;
        } else if let Some(length) = response.header("Content-Length") {
            let length = length.parse().map_err(invalid)?;
            response.body = self.read_exactly(length)?;
        } else {
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    /// Reads until the server closes the connection.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            // A server that closes with unread bytes before it resets the connection; what it sent
            // first has arrived.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            result => drop(result.expect("the server closes the connection")),
        }
        bytes
    }

    /// Whether the server closes the connection without another byte; waits for either.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn read_head(&mut self) -> io::Result<Response> {
        let status_line = self.read_line()?;
        let mut parts = status_line.splitn(3, ' ');
        let version = parts.next().unwrap_or_default();
        let status = parts.next().unwrap_or_default();
        if !version.starts_with("HTTP/1.") || status.len() != 3 {
            return Err(invalid(format!("status line {status_line:?}")));
        }
        let mut response = Response {
            version: version.to_owned(),
            status: status.parse().map_err(invalid)?,
            reason: parts.next().unwrap_or_default().to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            chunks: None,
        };
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(response);
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| invalid(format!("header line {line:?}")))?;
            response.headers.push((name.into(), value.trim().into()));
        }
    }

    fn read_chunks(&mut self, response: &mut Response) -> io::Result<()> {
        let mut lengths = Vec::new();
        loop {
            let line = self.read_line()?;
            let length = usize::from_str_radix(&line, 16).map_err(invalid)?;
            if length == 0 {
                break;
            }
            lengths.push(length);
            response.body.extend(self.read_exactly(length)?);
            self.expect_empty_line()?;
        }
        response.chunks = Some(lengths);
        self.expect_empty_line()
    }

    fn expect_empty_line(&mut self) -> io::Result<()> {
        match self.read_line()?.as_str() {
            "" => Ok(()),
            line => Err(invalid(format!("{line:?} in place of an empty line"))),
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\r\n") else {
            if line.ends_with(b"\n") {
                return Err(invalid("a line that ends with a bare LF"));
            }
            let end = format!("the connection ended after {:?}", String::from_utf8_lossy(&line));
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, end));
        };
        String::from_utf8(line.to_vec()).map_err(invalid)
    }

    fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Response {
    /// The value of the first field with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// Whether the server announces that it closes the connection after this response.
    pub fn closes(&self) -> bool {
        self.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
