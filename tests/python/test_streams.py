"""How many segments a body of many pieces takes on its way."""

import re
import socket
import struct

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"%d\\n" % number for number in range(20))
"""

# `tcpi_data_segs_in` in `struct tcp_info`, tcp(7): segments with data that have arrived.
DATA_SEGS_IN = 152


def segments(connection):
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return struct.unpack_from("I", information, DATA_SEGS_IN)[0]


def test_pieces_that_come_at_once_leave_together(serve):
    server = serve(APP)
    [line] = server.wait_for("Listening at: ")
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)", line)[1])
    counts = []
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for _ in range(50):
            before = segments(connection)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            answer = b""
            while not answer.endswith(b"0\r\n\r\n"):
                answer += connection.recv(65536)
            assert answer.count(b"\r\n3\r\n") == 10
            counts.append(segments(connection) - before)
    # One at a time makes 21. A millisecond is long, but a busy machine may make it pass in between.
    assert min(counts) == 1
