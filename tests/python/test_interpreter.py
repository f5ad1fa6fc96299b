"""A worker's interpreter is the one of the virtual environment, in order and in good health.

Workers share standard error: what they say is written at once, since `print` writes the parts of a
line one by one.
"""

import json
import sys
from pathlib import Path

import pytest

SHOW = """
import json, sys, threading

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({
        "executable": sys.executable,
        "prefix": sys.prefix,
        "version": sys.version,
        "path": sys.path,
        "main": threading.current_thread() is threading.main_thread(),
        "threads": [thread.name for thread in threading.enumerate()],
    }).encode()]
"""


@pytest.fixture(params=["script", "module"])
def shown(request, serve):
    """What a worker of each command tells of itself."""
    commands = {"script": {}, "module": {"command": [sys.executable, "-m", "rgunicorn"]}}
    server = serve(SHOW, **commands[request.param])
    status, _, body = server.request("GET", "/")
    assert status == 200
    return json.loads(body)


def test_the_interpreter_is_that_of_the_virtual_environment(shown):
    # Its name may be python, python3 or python3.11.
    assert Path(shown["executable"]).parent == Path(sys.executable).parent
    assert Path(shown["executable"]).samefile(sys.executable)
    assert shown["prefix"] == sys.prefix
    assert shown["version"] == sys.version


def test_the_application_runs_in_the_main_thread(shown):
    assert shown["main"]
    assert shown["threads"] == ["MainThread"]


def test_the_working_directory_is_searched_first(shown, tmp_path):
    assert shown["path"][0] in ("", str(tmp_path))


def test_subprocesses_work_in_a_worker(serve):
    server = serve(
        """
import subprocess, sys

def app(environ, start_response):
    start_response("200 OK", [])
    done = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True)
    failed = subprocess.run([sys.executable, "-c", "raise SystemExit(7)"])
    return [done.stdout, str(failed.returncode).encode()]
"""
    )
    status, _, body = server.request("GET", "/")
    assert (status, body) == (200, b"42\n7")


def test_subprocesses_inherit_no_descriptors(serve):
    # A listener in another program's hands would keep the port busy after the server's end.
    server = serve(
        """
import subprocess, sys

LIST = "import os; print(sorted(int(name) for name in os.listdir('/proc/self/fd'))[:-1])"

def app(environ, start_response):
    start_response("200 OK", [])
    return [subprocess.check_output([sys.executable, "-c", LIST], close_fds=False)]
"""
    )
    assert server.request("GET", "/")[2] == b"[0, 1, 2]\n"


def test_other_threads_run_while_the_worker_waits(serve):
    server = serve(
        """
import sys, threading

threading.Timer(0.01, lambda: sys.stderr.write("the thread ran\\n")).start()

def app(environ, start_response):
    start_response("200 OK", [])
    return []
"""
    )
    server.wait_for("the thread ran")
    assert server.stop() == 0


def test_signal_handlers_of_the_application_run_while_the_worker_waits(serve):
    server = serve(
        """
import signal, sys

signal.signal(signal.SIGALRM, lambda *_: sys.stderr.write("the alarm rang\\n"))
signal.setitimer(signal.ITIMER_REAL, 0.01)

def app(environ, start_response):
    start_response("200 OK", [])
    return []
"""
    )
    server.wait_for("the alarm rang")
    assert server.request("GET", "/")[0] == 200


def test_random_numbers_differ_between_workers(serve):
    # Both workers draw at their start, from a generator that a plain fork would have copied.
    server = serve(
        """
import random, sys

sys.stderr.write(f"drawn {random.random()}\\n")

def app(environ, start_response):
    start_response("200 OK", [])
    return []
""",
        "--workers=2",
    )
    assert len(set(server.wait_for("drawn", 2))) == 2
    assert server.stop() == 0


def test_each_worker_ends_as_python_programs_do(serve):
    server = serve(
        """
import atexit, os, sys

atexit.register(lambda: sys.stderr.write(f"ended {os.getpid()}\\n"))
sys.stdout.write(f"unflushed {os.getpid()}\\n")
sys.stderr.write(f"loaded {os.getpid()}\\n")

def app(environ, start_response):
    start_response("200 OK", [])
    return []
""",
        "--workers=2",
    )
    pids = sorted(line.split()[1] for line in server.wait_for("loaded", 2))
    assert server.stop() == 0
    # Exit handlers have run and buffers were written, once in each worker and never in the master.
    assert sorted(line.split()[1] for line in server.lines("ended")) == pids
    assert sorted(server.stdout.read_text().split()[1::2]) == pids
