"""Fifty clients that read a large answer slowly, and a good client beside them."""

import multiprocessing
import socket
import statistics
import time
from multiprocessing.connection import Connection

from harness.client import Address, connect, hello_latencies
from harness.process import cpu_seconds, pss_bytes
from harness.report import Table
from harness.running import Bench, Running, free_port, running
from harness.servers import Site

READERS = 50
BYTES_PER_SECOND = 64 << 10
# So that the kernel takes little of the answer and the server has to keep the rest.
RECEIVE_BUFFER_BYTES = 16 << 10
READER_LIMIT_SECONDS = 60


def measure_slow_readers(bench: Bench) -> Table:
    """The good client's latencies alone, then beside the readers; one server after the other."""
    table = Table(
        f"{READERS} readers of 64 KiB/s, 16 MiB each, and a good client beside them",
        {
            "server": 0,
            "answer": 0,
            "good client alone p99 ms": 2,
            "beside p50 ms": 2,
            "p99 ms": 2,
            "memory growth MiB": 1,
            "CPU ms/s": 1,
            "each reader gets KiB/s": 0,
        },
        "The application gives the answer whole, or in pieces of 64 KiB. "
        "– : the good client was not answered within ten seconds.",
    )
    for path in ("/whole", "/pieces"):
        for name in bench.available("rgunicorn", "gunicorn gthread", "granian", "bjoern"):
            with running(bench, name, Site(free_port(), "apps:large")) as server:
                table.add(name, path, *_beside(bench, server, path))
    return table


def _beside(bench: Bench, server: Running, path: str) -> list[float | None]:
    pid, address = server.pid, server.address
    seconds = 2 if bench.quick else 4
    alone = hello_latencies(address, seconds)
    memory = pss_bytes(pid)
    near, far = multiprocessing.Pipe()
    readers = multiprocessing.Process(target=_read_slowly, args=(address, path, far), daemon=True)
    readers.start()
    try:
        time.sleep(1)
        before, start = cpu_seconds(pid), time.perf_counter()
        try:
            latencies = hello_latencies(address, seconds)
        except OSError:
            latencies = []
        load = (cpu_seconds(pid) - before) / (time.perf_counter() - start) * 1e3
        growth = (pss_bytes(pid) - memory) / (1 << 20)
        near.send("stop")
        rate = near.recv() if near.poll(READER_LIMIT_SECONDS) else None
    finally:
        readers.kill()
        readers.join()
    p50, p99 = _percentiles(latencies)
    return [_percentiles(alone)[1], p50, p99, growth, load, rate]


def _percentiles(latencies: list[float]) -> tuple[float | None, float | None]:
    if len(latencies) < 2:
        return None, None
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return cuts[49] * 1e3, cuts[98] * 1e3


def _read_slowly(address: Address, path: str, control: Connection) -> None:
    """All readers in one process; tells in the end how many KiB/s each of them got."""
    readers = [_start_reader(address, path) for _ in range(READERS)]
    received, start = 0, time.perf_counter()
    while time.perf_counter() - start < READER_LIMIT_SECONDS and not control.poll(0.1):
        for reader in readers:
            try:
                received += len(reader.recv(BYTES_PER_SECOND // 10))
            except OSError:
                continue
    control.send(received / (time.perf_counter() - start) / READERS / 1024)


def _start_reader(address: Address, path: str) -> socket.socket:
    reader = connect(address)
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    reader.sendall(b"GET %s HTTP/1.1\r\nHost: bench\r\n\r\n" % path.encode())
    reader.setblocking(False)
    return reader
