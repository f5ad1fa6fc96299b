"""Starts the installed server for one test and ends it afterwards."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

SCRIPT = Path(sysconfig.get_path("scripts"), "rgunicorn")

# A limit for what would otherwise hang, in seconds; nothing waits for it to pass.
DEADLINE = 20

# Variables that the server or its Python would obey.
AMBIENT = {"GUNICORN_CMD_ARGS", "PORT", "PYTHONPATH", "PYTHONUNBUFFERED", "WEB_CONCURRENCY"}


class Server:
    """A server process in a directory of its own."""

    def __init__(self, directory, source, arguments, command):
        (directory / "app.py").write_text(source)
        self.stdout, self.stderr = directory / "stdout", directory / "stderr"
        with self.stdout.open("wb") as stdout, self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, "--bind", "127.0.0.1:0", *arguments, "app:app"],
                cwd=directory,
                # The tester's shell must not decide how Python buffers.
                env={key: value for key, value in os.environ.items() if key not in AMBIENT},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    def lines(self, needle):
        """The lines of standard error that hold `needle`."""
        return [line for line in self.stderr.read_text().splitlines() if needle in line]

    def wait_for(self, needle, count=1):
        """Waits for so many lines of standard error, and returns them."""
        limit = time.monotonic() + DEADLINE
        while len(found := self.lines(needle)) < count:
            log = self.stderr.read_text()
            assert self.process.poll() is None, f"the server has ended:\n{log}"
            assert time.monotonic() < limit, f"waited in vain for {needle!r} in:\n{log}"
            time.sleep(0.005)
        return found

    def request(self, method, target, body=None, headers=()):
        """Asks once, on a connection of its own."""
        [line] = self.wait_for("Listening at: ")
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", line)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def stop(self):
        """Lets it end as an operator would, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)


@pytest.fixture
def serve(tmp_path):
    """Gives `serve(source, *arguments, command=…)`, which starts a server for that `app.py`."""
    servers = []

    def start(source, *arguments, command=(SCRIPT,)):
        servers.append(Server(tmp_path, source, arguments, command))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            # Its workers end when they notice that it is gone.
            server.process.kill()
            server.process.wait(DEADLINE)
