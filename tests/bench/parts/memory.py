"""Memory of several workers, and what a preloaded application saves of it."""

from functools import partial

from harness.load import Load, measure
from harness.process import pss_bytes
from harness.report import Table
from harness.running import Bench, free_port, running
from harness.servers import Site

WORKERS = 4


def measure_memory(bench: Bench) -> Table:
    """Flask, after a second of load on new connections, which reach every worker."""
    table = Table(
        f"Memory of {WORKERS} Flask workers and their master",
        {"server": 0, "MiB": 1, "with --preload": 1},
        "PSS: a page that processes share counts once.",
    )
    for name in bench.available("rgunicorn", "gunicorn"):
        memory_of = partial(_memory, bench, name)
        table.add(name, memory_of(preload=False), memory_of(preload=True))
    return table


def _memory(bench: Bench, name: str, *, preload: bool) -> float:
    site = Site(free_port(), "flask_app:app", preload=preload, workers=WORKERS)
    with running(bench, name, site) as server:
        measure(bench, server, Load(headers=("Connection: close",)), seconds=1)
        return pss_bytes(server.pid) / (1 << 20)
