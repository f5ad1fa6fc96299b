"""What each further header of a request costs."""

from functools import partial

from harness.load import Load, measure
from harness.report import Table
from harness.rounds import interleave, median
from harness.running import Bench, running_all

# wrk itself sends one, Host; gunicorn's limit is a hundred.
COUNTS = (2, 20, 90)


def measure_headers(bench: Bench) -> Table:
    """Hello with a few headers and with many."""
    table = Table(
        "Headers (hello, keep-alive, 32 connections)",
        {
            "server": 0,
            **{f"CPU µs/request with {count}": 1 for count in COUNTS},
            "µs per further header": 3,
        },
    )
    names = bench.available(
        "rgunicorn", "gunicorn gthread", "granian", "bjoern", "fastwsgi", "floor"
    )
    with running_all(bench, names, "apps:hello") as servers:
        subjects = {
            f"{server.name} {count}": partial(measure, bench, server, _load(count), seconds=1)
            for server in servers
            for count in COUNTS
        }
        samples = interleave(subjects, bench.rounds)
        for server in servers:
            costs = [median(samples[f"{server.name} {count}"], "cpu_us") for count in COUNTS]
            slope = (costs[-1] - costs[0]) / (COUNTS[-1] - COUNTS[0])
            table.add(server.name, *costs, slope)
    return table


def _load(count: int) -> Load:
    fields = (f"X-Field-Name-{i:02}: value-of-the-field-{i:02}" for i in range(count - 1))
    return Load(headers=tuple(fields))
