"""What all applications here do, in Flask: see `framework.rs`."""

import hashlib

import flask
from witness import witness

site = flask.Flask(__name__)
site.secret_key = "only for tests"


@site.get("/hello/<name>")
def hello(name):
    return f"Hello, {name}!"


@site.get("/visits")
def visits():
    flask.session["visits"] = flask.session.get("visits", 0) + 1
    return str(flask.session["visits"])


@site.post("/upload")
def upload():
    file = flask.request.files["file"]
    digest = hashlib.file_digest(file.stream, "sha256").hexdigest()
    return f"{flask.request.form['title']} {file.filename} {digest}"


@site.get("/stream/<int:last>")
def stream(last):
    return flask.Response((f"{number}\n" for number in range(1, last + 1)), mimetype="text/plain")


@site.get("/file")
def file():
    return flask.send_file("content.bin")


@site.get("/page")
def page():
    return "x" * (16 << 20)


@site.get("/url")
def url():
    return flask.request.url


@site.get("/redirect")
def redirect():
    return flask.redirect("/visits", 303)


@site.get("/broken")
def broken():
    raise LookupError("broken on purpose")


app = witness(site)
