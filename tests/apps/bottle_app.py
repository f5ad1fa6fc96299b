"""What all applications here do, in Bottle: see `framework.rs`."""

import hashlib

import bottle
from witness import witness

SECRET = "only for tests"
site = bottle.Bottle()


@site.get("/hello/<name>")
def hello(name):
    return f"Hello, {name}!"


@site.get("/visits")
def visits():
    count = bottle.request.get_cookie("visits", default=0, secret=SECRET) + 1
    bottle.response.set_cookie("visits", count, secret=SECRET)
    return str(count)


@site.post("/upload")
def upload():
    file = bottle.request.files["file"]
    digest = hashlib.file_digest(file.file, "sha256").hexdigest()
    return f"{bottle.request.forms['title']} {file.filename} {digest}"


@site.get("/stream/<last:int>")
def stream(last):
    return (b"%d\n" % number for number in range(1, last + 1))


@site.get("/file")
def file():
    return bottle.static_file("content.bin", root=".")


@site.get("/page")
def page():
    return "x" * (16 << 20)


@site.get("/url")
def url():
    return bottle.request.url


@site.get("/redirect")
def redirect():
    bottle.redirect("/visits", 303)


@site.get("/broken")
def broken():
    raise LookupError("broken on purpose")


app = witness(site)
