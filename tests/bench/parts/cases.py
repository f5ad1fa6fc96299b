"""One kind of request after the other, under as much load as a server takes."""

from dataclasses import dataclass
from functools import partial

from harness.load import PLAIN, Load, measure
from harness.report import Table
from harness.rounds import interleave, median, ratio
from harness.running import Bench, running_all

BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: sessionid=h3k2j4h5k2j3h4k5j2h3k4j5h; csrftoken=Qm9Vd2xKZ3hTc1ZyT2VtN2tE",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Cache-Control: max-age=0",
)

ALL = ("rgunicorn", "gunicorn", "gunicorn gthread", "uwsgi", "granian", "bjoern", "fastwsgi")


@dataclass(frozen=True)
class Case:
    """What is asked, of which application."""

    title: str
    app: str = "apps:hello"
    load: Load = PLAIN
    servers: tuple[str, ...] = ALL


CASES = {
    "hello": Case("Hello, keep-alive", servers=(*ALL, "floor")),
    "close": Case(
        "Hello, a connection for each request",
        load=Load(headers=("Connection: close",)),
        servers=(*ALL, "floor"),
    ),
    "browser": Case(
        "Hello, with a browser's nine headers", load=Load(headers=BROWSER), servers=(*ALL, "floor")
    ),
    "flask": Case("Flask, keep-alive", app="flask_app:app"),
    "file": Case("A file of 1 MiB by wsgi.file_wrapper", app="apps:file"),
    "post": Case("POST of 1 KiB", app="apps:echo_length", load=Load(body_bytes=1024)),
    "stream": Case("A stream of sixteen pieces of 4 KiB", app="apps:stream"),
}


def measure_case(bench: Bench, case: Case) -> Table:
    """All servers of a case, in turn."""
    table = Table(
        f"{case.title} ({case.load.connections} connections)",
        {
            "server": 0,
            "CPU µs/request": 1,
            "rgunicorn ÷ it": 2,
            "requests/s": 0,
            "p50 ms": 2,
            "p99 ms": 2,
            "errors": 0,
        },
    )
    with running_all(bench, bench.available(*case.servers), case.app) as servers:
        subjects = {server.name: partial(measure, bench, server, case.load) for server in servers}
        samples = interleave(subjects, bench.rounds)
    own = samples.get("rgunicorn")
    for name, taken in samples.items():
        table.add(
            name,
            median(taken, "cpu_us"),
            ratio(own, taken) if own else None,
            median(taken, "rate"),
            median(taken, "p50_ms"),
            median(taken, "p99_ms"),
            sum(sample.errors for sample in taken),
        )
    return table
