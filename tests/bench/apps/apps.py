"""The applications that every server serves: one callable for each kind of work."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

PIECE_BYTES = 64 << 10


def hello(_environ: Environ, start_response: StartResponse) -> list[bytes]:
    """The least that an application can do."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, World!"]


def echo_length(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Reads the body at once and answers its length."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return _number(len(body), start_response)


def sink(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Reads the body piece by piece and answers its length."""
    if environ["REQUEST_METHOD"] == "GET":
        return hello(environ, start_response)
    left = length = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (piece := environ["wsgi.input"].read(min(PIECE_BYTES, left))):
        left -= len(piece)
    return _number(length - left, start_response)


def stream(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Sixteen pieces of 4 KiB, without a length."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"y" * 4096 for _ in range(16))


def large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """16 MiB: `/pieces` of 64 KiB each, or `/whole`; every other path: hello."""
    path = environ["PATH_INFO"]
    if path not in ("/pieces", "/whole"):
        return hello(environ, start_response)
    start_response("200 OK", [("Content-Length", str(len(_WHOLE)))])
    piece = _WHOLE[:PIECE_BYTES]
    return [_WHOLE] if path == "/whole" else (piece for _ in range(256))


def file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The file that the benchmark names, by the server's `wsgi.file_wrapper` (PEP 3333)."""
    opened = open(os.environ["BENCH_FILE"], "rb")  # noqa: SIM115 - the server closes it
    length = os.fstat(opened.fileno()).st_size
    start_response("200 OK", [("Content-Length", str(length))])
    wrapper: Callable[..., Iterable[bytes]] = environ.get("wsgi.file_wrapper", _pieces)
    return wrapper(opened, PIECE_BYTES)


def _pieces(opened: BinaryIO, size: int) -> Iterator[bytes]:
    """What an application does when the server has no file wrapper."""
    with opened:
        while piece := opened.read(size):
            yield piece


def _number(number: int, start_response: StartResponse) -> list[bytes]:
    body = b"%d" % number
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


_WHOLE = b"z" * (256 * PIECE_BYTES)
