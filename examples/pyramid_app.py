"""A small Pyramid application: a page, a form, a session, an upload, a streamed response, a file.

    pip install pyramid
    rgunicorn --chdir examples --workers 2 pyramid_app:app
"""

import hashlib
import os

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory
from pyramid.view import view_config

PAGE = """<!doctype html>
<title>Pyramid</title>
<p>Hello! Visit {visits}.
<form action="/upload" method="post" enctype="multipart/form-data">
  <input name="file" type="file" required> <button>Digest this file</button>
</form>
<form action="/forget" method="post"><button>Forget me</button></form>
<p><a href="/count/100000">Count to 100,000</a>, or read <a href="/source">my source</a>
"""


@view_config(route_name="index")
def index(request):
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return Response(PAGE.format(visits=visits))


@view_config(route_name="forget", request_method="POST")
def forget(request):
    request.session.invalidate()
    return HTTPSeeOther("/")


@view_config(route_name="upload", request_method="POST", renderer="json")
def upload(request):
    upload = request.POST["file"]
    digest = hashlib.sha256()
    for piece in iter(lambda: upload.file.read(1 << 16), b""):
        digest.update(piece)
    return {"name": upload.filename, "sha256": digest.hexdigest()}


@view_config(route_name="count")
def count(request):
    # Sent line by line as the client takes them; never in memory as a whole.
    last = int(request.matchdict["last"])
    lines = (b"%d\n" % number for number in range(1, last + 1))
    return Response(app_iter=lines, content_type="text/plain")


@view_config(route_name="source")
def source(request):
    # Goes through wsgi.file_wrapper: the kernel sends the file, Python does not read it.
    return FileResponse(__file__, request=request, content_type="text/plain")


def main():
    # Signs the session cookie: all workers must know it, and nobody else.
    secret = os.environ.get("SECRET_KEY", "good enough for an example")
    sessions = SignedCookieSessionFactory(secret, httponly=True, samesite="Lax")
    with Configurator(session_factory=sessions) as config:
        config.add_route("index", "/")
        config.add_route("forget", "/forget")
        config.add_route("upload", "/upload")
        config.add_route("count", r"/count/{last:\d+}")
        config.add_route("source", "/source")
        config.scan(__name__)
        return config.make_wsgi_app()


app = main()
