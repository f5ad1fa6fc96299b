#!/usr/bin/env python3
"""Measures rgunicorn beside its peers: `python3 tests/bench/run.py`; see README.md here."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness.environment import MissingError, prepare
from harness.report import Table, machine, write_json
from harness.running import Bench
from harness.servers import SERVERS
from parts.access_log import measure_access_log
from parts.cases import CASES, measure_case
from parts.headers import measure_headers
from parts.idle_connections import measure_idle_connections
from parts.life import measure_idle, measure_start
from parts.memory import measure_memory
from parts.nginx import measure_nginx
from parts.slow_readers import measure_slow_readers
from parts.upload import measure_upload

PARTS: dict[str, Callable[[Bench], Table]] = {
    **{name: partial(measure_case, case=case) for name, case in CASES.items()},
    "access-log": measure_access_log,
    "headers": measure_headers,
    "upload": measure_upload,
    "slow-readers": measure_slow_readers,
    "idle-connections": measure_idle_connections,
    "nginx": measure_nginx,
    "start": measure_start,
    "idle": measure_idle,
    "memory": measure_memory,
}


FILE_BYTES = 1 << 20


def main() -> None:
    """Measures what the command line names, and prints each table as soon as it is there."""
    arguments = parse_arguments()
    try:
        environment = prepare()
    except MissingError as missing:
        sys.exit(f"error: {missing}")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("error: two cores are needed, one for the servers and one for the load")
    os.sched_setaffinity(0, cores[:1])
    where = machine(environment.versions)
    print(f"{where['cpu']}, {where['cores']} cores, Linux {where['kernel']}, {where['date']}\n")
    tables = []
    with tempfile.TemporaryDirectory(prefix="rgunicorn-bench-") as work:
        bench = Bench(
            environment=environment,
            file=Path(work, "file"),
            load_core=cores[0],
            names=arguments.servers,
            quick=arguments.quick,
            rounds=3 if arguments.quick else 5,
            round_seconds=1 if arguments.quick else 2,
            server_core=cores[1],
            work=Path(work),
        )
        bench.file.write_bytes(os.urandom(FILE_BYTES))
        for name in arguments.parts:
            print(f"measuring {name}", file=sys.stderr)
            try:
                table = PARTS[name](bench)
            except OSError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            print(table.markdown(), flush=True)
            tables.append(table)
    if arguments.json:
        write_json(arguments.json, where, tables)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"what to measure, by default all: {', '.join(PARTS)}",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument(
        "--servers",
        type=lambda text: text.split(","),
        default=list(SERVERS),
        metavar="NAMES",
        help=f"only these, between commas: {', '.join(SERVERS)}",
    )
    arguments = parser.parse_args()
    for given, known in ((arguments.parts, PARTS), (arguments.servers, SERVERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    arguments.parts = arguments.parts or list(PARTS)
    return arguments


if __name__ == "__main__":
    main()
