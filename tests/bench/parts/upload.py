"""A large request body, which the application reads piece by piece."""

import contextlib
import statistics
import time

from harness.client import connect, read_answer
from harness.process import cpu_seconds, peak_rss_bytes, reset_peak
from harness.report import Table
from harness.running import Bench, Running, running_all

MEGABYTES = 64


def measure_upload(bench: Bench) -> Table:
    """One client, one upload after the other, the servers in turn."""
    table = Table(
        f"Upload of {MEGABYTES} MiB",
        {"server": 0, "CPU ms/MiB": 2, "MiB/s": 0, "memory growth MiB": 1},
        "Growth: the peak of the largest process above what it held before.",
    )
    ours = ("rgunicorn", "rgunicorn unbuffered")
    names = bench.available(*ours, "gunicorn", "uwsgi", "granian", "bjoern")
    with running_all(bench, names, "apps:sink") as servers:
        costs: dict[str, list[tuple[float, float]]] = {server.name: [] for server in servers}
        before = {}
        for server in servers:
            reset_peak(server.pid)
            before[server.name] = peak_rss_bytes(server.pid)
        for _ in range(bench.rounds):
            for server in servers:
                costs[server.name].append(_upload(server))
        for server in servers:
            cpu, duration = map(statistics.median, zip(*costs[server.name], strict=True))
            growth = (peak_rss_bytes(server.pid) - before[server.name]) / (1 << 20)
            table.add(server.name, cpu * 1e3 / MEGABYTES, MEGABYTES / duration, growth)
    return table


def _upload(server: Running) -> tuple[float, float]:
    """Seconds of the server's processor and of the clock."""
    piece = b"q" * (1 << 20)
    length = MEGABYTES * len(piece)
    before, start = cpu_seconds(server.pid), time.perf_counter()
    with contextlib.closing(connect(server.address)) as connection:
        head = b"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % length
        connection.sendall(head)
        for _ in range(MEGABYTES):
            connection.sendall(piece)
        if read_answer(connection) != b"%d" % length:
            raise OSError(f"{server.name} lost a part of the upload")
    return cpu_seconds(server.pid) - before, time.perf_counter() - start
