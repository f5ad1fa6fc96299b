"""rgunicorn: a pre-fork WSGI server with gunicorn's command line and a Rust core."""

from rgunicorn._rgunicorn import RequestTimeout

__all__ = ["RequestTimeout"]
