"""A server that runs: pinned to its core, asked until it answers, ended in the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.client import Address, answers
from harness.environment import APPS, Environment
from harness.servers import SERVERS, Site

START_LIMIT_SECONDS = 20
STOP_LIMIT_SECONDS = 5


@dataclass(frozen=True)
class Bench:
    """What is the same for all measurements of one run."""

    environment: Environment
    file: Path
    load_core: int
    names: list[str]
    quick: bool
    rounds: int
    round_seconds: int
    server_core: int
    work: Path

    def available(self, *names: str) -> list[str]:
        """Those of these servers that are installed and asked for."""
        packages = {name: SERVERS[name].package for name in names if name in self.names}
        return [
            name
            for name, package in packages.items()
            if package is None or self.environment.has(package)
        ]


@dataclass(frozen=True)
class Running:
    """A server that has answered."""

    address: Address
    name: str
    pid: int
    start_seconds: float


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(bench: Bench, name: str, site: Site | None = None) -> Iterator[Running]:
    """Starts a server and ends it afterwards. Raises OSError when it does not answer."""
    site = site or Site(free_port())
    command = ["taskset", "-c", str(bench.server_core)]
    command += SERVERS[name].command(bench.environment, site)
    log = bench.work / f"{name}.log"
    start = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=APPS,
            env={**os.environ, "PYTHONPATH": str(APPS), "BENCH_FILE": str(bench.file)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await_answer(process, site.address, log)
        yield Running(site.address, name, process.pid, time.perf_counter() - start)
    finally:
        end(process)


@contextmanager
def running_all(bench: Bench, names: list[str], app: str) -> Iterator[list[Running]]:
    """Starts several servers side by side; one that does not start is named and left out."""
    with ExitStack() as stack:
        servers = []
        for name in names:
            try:
                servers.append(stack.enter_context(running(bench, name, Site(free_port(), app))))
            except OSError as error:
                print(f"{name} is left out for {app}: {error}", file=sys.stderr)
        yield servers


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that leads a session, and whatever else is in that."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_LIMIT_SECONDS)
    # The group is the one that this process was started to lead: nobody else is in it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_LIMIT_SECONDS)


def _await_answer(process: subprocess.Popen[bytes], address: Address, log: Path) -> None:
    limit = time.perf_counter() + START_LIMIT_SECONDS
    reason = "it was not asked"
    while time.perf_counter() < limit and process.poll() is None:
        try:
            if answers(address):
                return
            reason = "it does not answer 200"
        except OSError as error:
            reason = str(error)
        time.sleep(0.001)
    lines = log.read_text(errors="replace").splitlines()[-3:]
    raise OSError(f"it did not answer ({reason}): {' / '.join(lines)}")
