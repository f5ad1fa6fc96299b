"""What all applications here do, in Falcon: see `framework.rs`."""

import hashlib
import os

import falcon
from witness import witness


class Hello:
    def on_get(self, request, response, name):
        response.text = f"Hello, {name}!"


class Visits:
    """Falcon has cookies and leaves sessions to others."""

    def on_get(self, request, response):
        count = int(request.cookies.get("visits", "0")) + 1
        response.set_cookie("visits", str(count), secure=False)
        response.text = str(count)


class Upload:
    def on_post(self, request, response):
        digest = hashlib.sha256()
        for part in request.get_media():
            if part.name == "title":
                title = part.text
            else:
                name = part.filename
                while chunk := part.stream.read(65536):
                    digest.update(chunk)
        response.text = f"{title} {name} {digest.hexdigest()}"


class Stream:
    def on_get(self, request, response, last):
        response.stream = (b"%d\n" % number for number in range(1, last + 1))


class File:
    def on_get(self, request, response):
        size = os.path.getsize("content.bin")
        response.set_stream(open("content.bin", "rb"), size)


class Page:
    def on_get(self, request, response):
        response.text = "x" * (16 << 20)


class Url:
    def on_get(self, request, response):
        response.text = request.url


class Redirect:
    def on_get(self, request, response):
        raise falcon.HTTPSeeOther("/visits")


class Broken:
    def on_get(self, request, response):
        raise LookupError("broken on purpose")


site = falcon.App(media_type=falcon.MEDIA_TEXT)
site.add_route("/hello/{name}", Hello())
site.add_route("/visits", Visits())
site.add_route("/upload", Upload())
site.add_route("/stream/{last:int}", Stream())
site.add_route("/file", File())
site.add_route("/page", Page())
site.add_route("/url", Url())
site.add_route("/redirect", Redirect())
site.add_route("/broken", Broken())

app = witness(site)
