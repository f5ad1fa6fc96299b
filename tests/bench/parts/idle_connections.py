"""Ten thousand connections that are kept alive and do nothing."""

import contextlib
import resource
import statistics
import sys
from contextlib import ExitStack

from harness.client import ask, connect
from harness.load import Load, measure
from harness.process import pss_bytes
from harness.report import Table
from harness.running import Bench, Running, running

# A little below the limits of 10,000 that servers have: a good client needs a place as well.
CONNECTIONS = 9_900


def measure_idle_connections(bench: Bench) -> Table:
    """Each has had one answer. A good client is measured without them and beside them."""
    table = Table(
        f"{CONNECTIONS:,} idle keep-alive connections",
        {
            "server": 0,
            "held": 0,
            "bytes each": 0,
            "good client CPU µs/request without": 1,
            "beside": 1,
            "beside ÷ without": 2,
        },
        "Bytes: memory of the server's processes, without the kernel's.",
    )
    _raise_descriptor_limit()
    for name in bench.available("rgunicorn", "granian", "bjoern"):
        with running(bench, name) as server:
            table.add(name, *_beside(bench, server))
    return table


def _beside(bench: Bench, server: Running) -> list[float]:
    without = _good_client(bench, server)
    memory = pss_bytes(server.pid)
    with ExitStack() as stack:
        held = 0
        try:
            while held < CONNECTIONS:
                ask(stack.enter_context(contextlib.closing(connect(server.address))))
                held += 1
        except OSError as error:
            print(f"{server.name} takes no more: {error}", file=sys.stderr)
        each = (pss_bytes(server.pid) - memory) / max(held, 1)
        beside = _good_client(bench, server)
    return [held, each, without, beside, beside / without]


def _good_client(bench: Bench, server: Running) -> float:
    """One connection that asks without pause: the server wakes up for each request."""
    load = Load(connections=1)
    samples = [measure(bench, server, load, seconds=1) for _ in range(bench.rounds)]
    return statistics.median(sample.cpu_us for sample in samples)


def _raise_descriptor_limit() -> None:
    """For this process, and by inheritance for the servers."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < CONNECTIONS + 200:
        raise OSError(f"the limit of open files is {hard}; ulimit -Hn {2 * CONNECTIONS}")
