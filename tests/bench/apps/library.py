"""Runs a server that is a library: `library.py SERVER MODULE:APPLICATION PORT`."""

import importlib
import sys


def main() -> None:
    """Serves until it is ended."""
    server, application, port = sys.argv[1:]
    module, _, attribute = application.partition(":")
    app = getattr(importlib.import_module(module), attribute)
    library = importlib.import_module(server)
    if server == "bjoern":
        library.run(app, "127.0.0.1", int(port))
    elif server == "fastwsgi":
        library.run(wsgi_app=app, host="127.0.0.1", port=int(port), loglevel=0)
    else:
        sys.exit(f"no such library: {server}")


if __name__ == "__main__":
    main()
