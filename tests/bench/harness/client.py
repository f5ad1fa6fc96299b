"""A client of few lines: one connection, one request after the other."""

import contextlib
import socket
import time

TIMEOUT_SECONDS = 10

# What an address is: a port of the loopback interface, or the path of a Unix socket.
Address = int | str


def connect(address: Address) -> socket.socket:
    """A connection to a server."""
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(address)
    else:
        connection = socket.create_connection(("127.0.0.1", address), TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection: socket.socket, path: str = "/") -> bytes:
    """The body of the answer to a GET; needs a `Content-Length`.

    Raises OSError when the server does not answer 200, or not to the end.
    """
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: bench\r\n\r\n" % path.encode())
    return read_answer(connection)


def read_answer(connection: socket.socket) -> bytes:
    """The body of one answer, by its `Content-Length`; see `ask`."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.lower().split(b"\r\n")
    if status.split()[1] != b"200":
        raise OSError(f"the server answers {status.decode(errors='replace')}")
    fields = dict(line.split(b":", 1) for line in lines)
    length = int(fields[b"content-length"])
    while len(body) < length:
        body += _receive(connection)
    return body


def answers(address: Address) -> bool:
    """Whether a server answers a request of its own connection with 200."""
    with contextlib.closing(connect(address)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        return _receive(connection).split(b" ")[1] == b"200"


def hello_latencies(address: Address, seconds: float, gap: float = 0.001) -> list[float]:
    """Seconds that each answer took a client who asks, waits a moment and asks again."""
    latencies = []
    with contextlib.closing(connect(address)) as connection:
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            ask(connection)
            latencies.append(time.perf_counter() - start)
            time.sleep(gap)
    return latencies


def _receive(connection: socket.socket) -> bytes:
    received = connection.recv(1 << 16)
    if not received:
        raise ConnectionError("the server closed the connection early")
    return received
