"""A server's life without load: how soon it answers, what it costs while nobody asks."""

import statistics
import time
from contextlib import ExitStack

from harness.process import cpu_seconds, pss_bytes
from harness.report import Table
from harness.running import Bench, free_port, running
from harness.servers import Site

SERVERS = ("rgunicorn", "gunicorn", "uwsgi", "granian", "bjoern", "fastwsgi")


def measure_start(bench: Bench) -> Table:
    """From the start of the process to the first answer, hello and Flask."""
    table = Table(
        "Start to the first answer",
        {"server": 0, "hello ms": 0, "CPU ms": 0, "Flask ms": 0, "its CPU ms": 0},
    )
    names = bench.available(*SERVERS)
    apps = ("apps:hello", "flask_app:app")
    times: dict[tuple[str, str], list[tuple[float, float]]] = {
        (name, app): [] for name in names for app in apps
    }
    for _ in range(2 * bench.rounds):
        for (name, app), taken in times.items():
            with running(bench, name, Site(free_port(), app)) as server:
                taken.append((server.start_seconds * 1e3, cpu_seconds(server.pid) * 1e3))
    for name in names:
        columns = (column for app in apps for column in zip(*times[name, app], strict=True))
        table.add(name, *map(statistics.median, columns))
    return table


def measure_idle(bench: Bench) -> Table:
    """All servers side by side, none of them asked: one worker, with its master if it has one."""
    seconds = 5 if bench.quick else 15
    table = Table(
        f"Idle for {seconds} s", {"server": 0, "CPU ms/s": 3, "memory MiB": 1}, "One worker."
    )
    with ExitStack() as stack:
        servers = [stack.enter_context(running(bench, name)) for name in bench.available(*SERVERS)]
        time.sleep(1)  # what a start leaves behind
        before = {server.name: cpu_seconds(server.pid) for server in servers}
        time.sleep(seconds)
        for server in servers:
            spent = cpu_seconds(server.pid) - before[server.name]
            table.add(server.name, spent / seconds * 1e3, pss_bytes(server.pid) / (1 << 20))
    return table
