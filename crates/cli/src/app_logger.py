"""The logger `gunicorn.error`, as under gunicorn: applications take over its handlers and its level.

It is set up once something imports `logging`: an application without it need not wait for that.
"""

import sys


def install(write, level):
    """Sets up the logger now, or in time. `write` takes a text, `level` is a name such as INFO."""

    def set_up(logging):
        class Handler(logging.Handler):
            def emit(self, record):
                try:
                    write(self.format(record))
                except Exception:
                    self.handleError(record)

        handler = Handler()
        handler.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))
        logger = logging.getLogger("gunicorn.error")
        logger.propagate = False
        logger.setLevel(level)
        logger.handlers = [handler]

    logging = sys.modules.get("logging")
    if logging is not None:
        set_up(logging)
    else:
        sys.meta_path.insert(0, Finder(set_up))


class Finder:
    """Lets others find `logging`, once, and adds what is to be done when it is imported."""

    def __init__(self, then):
        self.then = then

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = Loader(spec.loader, self.then)
                return spec
        return None


class Loader:
    def __init__(self, loader, then):
        self.loader = loader
        self.then = then

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        self.then(module)


FORMAT = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
DATE_FORMAT = "[%Y-%m-%d %H:%M:%S %z]"
