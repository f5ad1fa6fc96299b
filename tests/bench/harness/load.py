"""Load by wrk, and what it cost the server."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.process import cpu_seconds
from harness.running import Bench, Running


@dataclass(frozen=True)
class Load:
    """What wrk sends."""

    body_bytes: int = 0
    connections: int = 32
    headers: tuple[str, ...] = ()


PLAIN = Load()
"""Keep-alive, no headers but wrk's own `Host`."""


@dataclass(frozen=True)
class Sample:
    """One round of one server."""

    cpu_us: float
    """Processor time of the server's process tree for one request, in microseconds."""
    errors: int
    """Answers that did not come whole, or not as 2xx or 3xx."""
    p50_ms: float
    p99_ms: float
    rate: float
    """Requests per second."""


# The same figures as wrk prints, in one line of plain numbers.
REPORT = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("SAMPLE %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def measure(
    bench: Bench,
    server: Running,
    load: Load = PLAIN,
    port: int | None = None,
    seconds: int | None = None,
) -> Sample:
    """One round: wrk on the load's core, the server's processor time before and after.

    `port` is where to ask when it is not the server's own, as behind a proxy.
    """
    seconds = seconds or bench.round_seconds
    address = server.address if port is None else port
    command = ["taskset", "-c", str(bench.load_core), "wrk", "--latency", "--timeout", "5s"]
    command += ["-t1", f"-c{load.connections}", f"-d{seconds}s", "-s", str(_script(bench, load))]
    for header in load.headers:
        command += ["-H", header]
    before = cpu_seconds(server.pid)
    result = subprocess.run(
        [*command, f"http://127.0.0.1:{address}/"],
        capture_output=True,
        check=False,
        text=True,
        timeout=seconds + 30,
    )
    spent = cpu_seconds(server.pid) - before
    match = re.search(r"^SAMPLE (\d+) (\d+) (\d+) (\d+) (\d+)$", result.stdout, re.MULTILINE)
    if match is None:
        raise OSError(f"wrk says: {result.stdout}{result.stderr}")
    requests, duration, p50, p99, errors = map(int, match.groups())
    return Sample(
        cpu_us=spent / max(requests, 1) * 1e6,
        errors=errors,
        p50_ms=p50 / 1e3,
        p99_ms=p99 / 1e3,
        rate=requests / (duration / 1e6),
    )


def _script(bench: Bench, load: Load) -> Path:
    """The script for a load: wrk takes a method and a body only from there."""
    script = bench.work / f"wrk-{load.body_bytes}.lua"
    if not script.exists():
        method = f'wrk.method = "POST"\nwrk.body = string.rep("z", {load.body_bytes})\n'
        script.write_text((method if load.body_bytes else "") + REPORT)
    return script
