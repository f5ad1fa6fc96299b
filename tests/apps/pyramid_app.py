"""What all applications here do, in Pyramid: see `framework.rs`."""

import hashlib

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory
from witness import witness


def hello(request):
    return Response(f"Hello, {request.matchdict['name']}!")


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return Response(str(request.session["visits"]))


def upload(request):
    field = request.POST["file"]
    digest = hashlib.file_digest(field.file, "sha256").hexdigest()
    return Response(f"{request.POST['title']} {field.filename} {digest}")


def stream(request):
    last = int(request.matchdict["last"])
    return Response(app_iter=(b"%d\n" % number for number in range(1, last + 1)))


def file(request):
    return FileResponse("content.bin", request=request)


def page(request):
    return Response("x" * (16 << 20))


def url(request):
    return Response(request.url)


def redirect(request):
    return HTTPSeeOther("/visits")


def broken(request):
    raise LookupError("broken on purpose")


with Configurator(session_factory=SignedCookieSessionFactory("only for tests")) as configurator:
    for view, pattern in [
        (hello, "/hello/{name}"),
        (visits, "/visits"),
        (upload, "/upload"),
        (stream, "/stream/{last}"),
        (file, "/file"),
        (page, "/page"),
        (url, "/url"),
        (redirect, "/redirect"),
        (broken, "/broken"),
    ]:
        configurator.add_route(view.__name__, pattern)
        configurator.add_view(view, route_name=view.__name__)
    app = witness(configurator.make_wsgi_app())
