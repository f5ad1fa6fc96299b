"""The servers that are compared, each as the command line that starts one worker of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.client import Address
from harness.environment import APPS, Environment


@dataclass(frozen=True)
class Site:
    """What a server is to serve, and where."""

    address: Address
    app: str = "apps:hello"
    access_log: Path | None = None
    preload: bool = False
    """Only for those with gunicorn's command line, as is `workers`."""
    workers: int = 1

    @property
    def bind(self) -> str:
        """The address in gunicorn's words."""
        return self.address_in("unix:{}")

    def address_in(self, unix: str) -> str:
        """The address, a Unix socket's path put into a server's own form."""
        if isinstance(self.address, str):
            return unix.format(self.address)
        return f"127.0.0.1:{self.address}"


Command = Callable[[Environment, Site], list[str]]


@dataclass(frozen=True)
class Server:
    """One server: its command line, and what must be installed for it."""

    command: Command
    package: str | None = None


def gunicorn_like(program: str, *options: str) -> Command:
    """rgunicorn has gunicorn's command line."""

    def command(environment: Environment, site: Site) -> list[str]:
        log = ["--access-logfile", str(site.access_log)] if site.access_log else []
        preload = ["--preload"] if site.preload else []
        common = ["--workers", str(site.workers), "--keep-alive", "120", "--log-level", "error"]
        where = ["--bind", site.bind, "--chdir", str(APPS)]
        return [environment.program(program), *options, *common, *where, *log, *preload, site.app]

    return command


def granian(environment: Environment, site: Site) -> list[str]:
    """One blocking thread, as the others have; connections enough for the idle ones."""
    if isinstance(site.address, str):
        where = ["--uds", site.address]
    else:
        where = ["--host", "127.0.0.1", "--port", str(site.address)]
    log = ["--access-log"] if site.access_log else ["--no-access-log", "--log-level", "error"]
    limits = ["--backlog", "16384", "--backpressure", "16384"]
    kind = ["--interface", "wsgi", "--http", "1", "--workers", "1", "--blocking-threads", "1"]
    return [environment.program("granian"), *kind, *where, *log, *limits, site.app]


def uwsgi(environment: Environment, site: Site) -> list[str]:
    """`http-socket`: the worker speaks HTTP itself, and closes after each answer."""
    module, _, attribute = site.app.partition(":")
    where = ["--http-socket", site.address_in("{}"), "--listen", "1024"]
    what = ["--master", "--processes", "1", "--need-app", "--die-on-term", "--disable-logging"]
    app = ["--module", module, "--callable", attribute]
    return [environment.program("uwsgi"), *what, *where, *app]


def library(name: str) -> Command:
    """A server without a program of its own."""

    def command(environment: Environment, site: Site) -> list[str]:
        python = environment.program("python")
        return [python, str(APPS / "library.py"), name, site.app, str(site.address)]

    return command


def floor(environment: Environment, site: Site) -> list[str]:
    """Knows no application: answers hello, whatever comes."""
    return [str(environment.floor), str(site.address)]


SERVERS = {
    "rgunicorn": Server(gunicorn_like("rgunicorn")),
    "rgunicorn unbuffered": Server(gunicorn_like("rgunicorn", "--no-request-buffering")),
    "gunicorn": Server(gunicorn_like("gunicorn", "--no-control-socket"), "gunicorn"),
    "gunicorn gthread": Server(
        gunicorn_like("gunicorn", "--no-control-socket", "-k", "gthread", "--threads", "4"),
        "gunicorn",
    ),
    "uwsgi": Server(uwsgi, "uwsgi"),
    "granian": Server(granian, "granian"),
    "bjoern": Server(library("bjoern"), "bjoern"),
    "fastwsgi": Server(library("fastwsgi"), "fastwsgi"),
    "floor": Server(floor),
}
