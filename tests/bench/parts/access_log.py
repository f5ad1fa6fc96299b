"""What a line of the access log costs."""

from contextlib import ExitStack
from functools import partial

from harness.load import measure
from harness.report import Table
from harness.rounds import interleave, median
from harness.running import Bench, free_port, running
from harness.servers import Site


def measure_access_log(bench: Bench) -> Table:
    """Hello by each server twice: without an access log, and with one in a file."""
    table = Table(
        "Access log (hello, keep-alive, 32 connections)",
        {"server": 0, "CPU µs/request without": 1, "with": 1, "µs per line": 1},
        "Written to a file.",
    )
    names = bench.available("rgunicorn", "gunicorn gthread")
    with ExitStack() as stack:
        subjects = {}
        for name in names:
            for log in (None, bench.work / f"{name}.access.log"):
                server = stack.enter_context(
                    running(bench, name, Site(free_port(), access_log=log))
                )
                subjects[name + (" with" if log else "")] = partial(measure, bench, server)
        samples = interleave(subjects, bench.rounds)
    for name in names:
        without, logged = (median(samples[key], "cpu_us") for key in (name, f"{name} with"))
        table.add(name, without, logged, logged - without)
    return table
