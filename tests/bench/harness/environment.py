"""Everything that is measured, installed: peers, this project's wheel, the floor server."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
APPS = PROJECT / "tests/bench/apps"

# What pip is asked for. gunicorn is the version whose place this project wants to take.
PEERS = {
    "gunicorn": "gunicorn==27.0.1",
    "granian": "granian",
    "uwsgi": "uwsgi",
    "bjoern": "bjoern",
    "fastwsgi": "fastwsgi",
}

TOOLS = {
    "cargo": "https://rustup.rs",
    "taskset": "apt-get install util-linux",
    "wrk": "apt-get install wrk, or https://github.com/wg/wrk",
}

INSTALL_LIMIT_SECONDS = 300


class MissingError(Exception):
    """Something that the benchmark cannot do without, and how to get it."""


@dataclass(frozen=True)
class Environment:
    """Where the programs are."""

    floor: Path
    venv: Path
    versions: dict[str, str]

    def program(self, name: str) -> str:
        """A program of the virtual environment."""
        return str(self.venv / "bin" / name)

    def has(self, package: str) -> bool:
        """Whether a package could be installed."""
        return package in self.versions


def prepare() -> Environment:
    """Installs what is missing; what cannot be built is named and left out."""
    for tool, source in TOOLS.items():
        if shutil.which(tool) is None:
            raise MissingError(f"{tool} is needed: {source}")
    target = (PROJECT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve()
    venv = target / "bench" / "venv"
    if not (venv / "bin/python").exists():
        _run([sys.executable, "-m", "venv", str(venv)])
    _install_peers(venv)
    _install_wheel(venv, target)
    _run(["cargo", "build", "--quiet", "--release", "-p", "rgunicorn-tests", "--bin", "floor"])
    return Environment(target / "release/floor", venv, _versions(venv))


def _install_peers(venv: Path) -> None:
    installed = _versions(venv)
    for name, requirement in {"flask": "flask", **PEERS}.items():
        if name in installed:
            continue
        print(f"installing {requirement}", file=sys.stderr)
        try:
            subprocess.run(
                [*_pip(venv), "install", "--quiet", requirement],
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_LIMIT_SECONDS,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            reason = (error.stderr or str(error)).strip().splitlines()[-1:]
            print(f"{requirement} cannot be installed and is left out: {reason}", file=sys.stderr)


def _install_wheel(venv: Path, target: Path) -> None:
    print("building this project's wheel", file=sys.stderr)
    # A target directory of its own: pip's build environment would else make cargo start anew.
    environ = {**os.environ, "CARGO_TARGET_DIR": str(target / "wheel")}
    _run([*_pip(venv), "install", "--quiet", "--force-reinstall", "--no-deps", "."], environ)


def _versions(venv: Path) -> dict[str, str]:
    listing = subprocess.run(
        [*_pip(venv), "list", "--format", "freeze"], check=True, capture_output=True, text=True
    )
    pairs = (line.partition("==") for line in listing.stdout.splitlines())
    return {name.lower(): version for name, _, version in pairs}


def _pip(venv: Path) -> list[str]:
    return [str(venv / "bin/python"), "-m", "pip", "--disable-pip-version-check"]


def _run(command: list[str], environ: dict[str, str] | None = None) -> None:
    result = subprocess.run(
        command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise MissingError(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
