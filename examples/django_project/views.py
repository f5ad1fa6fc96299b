"""The views. Served by `wsgi.py`."""

import hashlib

from django.http import FileResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST


def index(request):
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return render(request, "index.html", {"visits": visits})


@require_POST
def forget(request):
    request.session.flush()
    return redirect("index")


@require_POST
def upload(request):
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for piece in file.chunks():
        digest.update(piece)
    return JsonResponse({"name": file.name, "sha256": digest.hexdigest()})


def count(request, last):
    # Sent line by line as the client takes them; never in memory as a whole.
    lines = (f"{number}\n" for number in range(1, last + 1))
    return StreamingHttpResponse(lines, content_type="text/plain")


def source(request):
    # Goes through wsgi.file_wrapper: the kernel sends the file, Python does not read it.
    return FileResponse(open(__file__, "rb"), content_type="text/plain")
