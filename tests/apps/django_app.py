"""What all applications here do, in Django: see `framework.rs`."""

import hashlib

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path
from witness import witness

settings.configure(
    ALLOWED_HOSTS=["localhost"],
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
    },
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for tests",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


def hello(request, name):
    return HttpResponse(f"Hello, {name}!")


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(request.session["visits"])


def upload(request):
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return HttpResponse(f"{request.POST['title']} {file.name} {digest.hexdigest()}")


def stream(request, last):
    return StreamingHttpResponse(f"{number}\n" for number in range(1, last + 1))


def file(request):
    return FileResponse(open("content.bin", "rb"))


def page(request):
    return HttpResponse("x" * (16 << 20))


def url(request):
    return HttpResponse(request.build_absolute_uri())


def redirect(request):
    return HttpResponse(status=303, headers={"Location": "/visits"})


def broken(request):
    raise LookupError("broken on purpose")


urlpatterns = [
    path("hello/<name>", hello),
    path("visits", visits),
    path("upload", upload),
    path("stream/<int:last>", stream),
    path("file", file),
    path("page", page),
    path("url", url),
    path("redirect", redirect),
    path("broken", broken),
]

app = witness(get_wsgi_application())
