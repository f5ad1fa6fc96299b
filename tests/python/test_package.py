"""The wheel as Python sees it: what no test from outside the interpreter can tell."""

import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SCRIPT = Path(sysconfig.get_path("scripts"), "rgunicorn")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize(
    "command", [[SCRIPT], [sys.executable, "-m", "rgunicorn"]], ids=["script", "module"]
)
def test_both_commands_tell_the_version_of_the_distribution(command):
    ended = run(*command, "--version")
    version = importlib.metadata.version("rgunicorn")
    assert ended.stdout == f"rgunicorn (version {version})\n"
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_importing_the_package_starts_nothing():
    ended = run(
        sys.executable,
        "-c",
        "import rgunicorn, rgunicorn._rgunicorn, signal, threading\n"
        "assert threading.active_count() == 1\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "assert rgunicorn.RequestTimeout.__mro__[1] is BaseException",
    )
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_the_extension_does_not_need_libpython():
    # The interpreter that imports it brings Python along; a second one would be another Python.
    from rgunicorn import _rgunicorn

    listed = run("readelf", "--dynamic", _rgunicorn.__file__)
    needed = [line for line in listed.stdout.splitlines() if "(NEEDED)" in line]
    assert any("libc" in line for line in needed), listed
    assert not any("libpython" in line for line in needed), needed
