"""Hello, as a Flask application."""

from flask import Flask

app = Flask("bench")


@app.get("/")
def index() -> str:
    """The same answer as `apps.hello`."""
    return "Hello, World!"
