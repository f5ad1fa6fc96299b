"""rgunicorn: a pre-fork WSGI server with gunicorn's command line and a Rust core."""
