"""Behind nginx, which keeps its connections to the server's Unix socket alive."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from harness.client import answers
from harness.load import measure
from harness.report import Table
from harness.rounds import interleave, median, ratio
from harness.running import START_LIMIT_SECONDS, Bench, end, free_port, running
from harness.servers import Site

CONFIGURATION = """
daemon off;
master_process off;
error_log stderr crit;
pid {prefix}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    upstream server {{
        server unix:{socket};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
}}
"""


def measure_nginx(bench: Bench) -> Table:
    """Each server has an nginx of its own, on the load's core; only the server's time counts."""
    table = Table(
        "Behind nginx on a Unix socket, with upstream keep-alive (hello, 32 connections)",
        {
            "server": 0,
            "server CPU µs/request": 1,
            "rgunicorn ÷ it": 2,
            "requests/s": 0,
            "p99 ms": 2,
            "errors": 0,
        },
    )
    if shutil.which("nginx") is None:
        print("nginx is left out: apt-get install nginx-core", file=sys.stderr)
        return table
    with ExitStack() as stack:
        subjects = {}
        for name in bench.available("rgunicorn", "gunicorn gthread", "uwsgi", "granian"):
            prefix = bench.work / f"nginx-{name.replace(' ', '-')}"
            prefix.mkdir()
            path = str(prefix / "server.sock")
            server = stack.enter_context(running(bench, name, Site(path)))
            port = stack.enter_context(_nginx(bench, prefix, path))
            subjects[name] = partial(measure, bench, server, port=port)
        samples = interleave(subjects, bench.rounds)
    own = samples.get("rgunicorn")
    for name, taken in samples.items():
        table.add(
            name,
            median(taken, "cpu_us"),
            ratio(own, taken) if own else None,
            median(taken, "rate"),
            median(taken, "p99_ms"),
            sum(sample.errors for sample in taken),
        )
    return table


@contextmanager
def _nginx(bench: Bench, prefix: Path, path: str) -> Iterator[int]:
    """An nginx of one process in front of a socket; its port."""
    port = free_port()
    configuration = prefix / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(prefix=prefix, socket=path, port=port))
    command = ["taskset", "-c", str(bench.load_core), "nginx", "-p", str(prefix)]
    with (prefix / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        limit = time.perf_counter() + START_LIMIT_SECONDS
        while not _is_up(port):
            if process.poll() is not None or time.perf_counter() > limit:
                raise OSError(f"nginx does not answer: {(prefix / 'log').read_text()}")
            time.sleep(0.01)
        yield port
    finally:
        end(process)


def _is_up(port: int) -> bool:
    try:
        return answers(port)
    except OSError:
        return False
