"""A small Flask application: a page, a form, a session, an upload and a streamed response.

    pip install flask
    rgunicorn --chdir examples --workers 2 flask_app:app
"""

import hashlib
import os

import flask

app = flask.Flask(__name__)
# Signs the session cookie: all workers must know it, and nobody else.
app.secret_key = os.environ.get("SECRET_KEY", "good enough for an example")
app.config.update(MAX_CONTENT_LENGTH=64 << 20, SESSION_COOKIE_SAMESITE="Lax")

PAGE = """<!doctype html>
<title>Flask</title>
<p>Hello, {{ name }}! Visit {{ visits }}.
<form action="/name" method="post">
  <input name="name" required> <button>This is my name</button>
</form>
<form action="/upload" method="post" enctype="multipart/form-data">
  <input name="file" type="file" required> <button>Digest this file</button>
</form>
<p><a href="/count/100000">Count to 100,000</a>
"""


@app.get("/")
def index():
    visits = flask.session.get("visits", 0) + 1
    flask.session["visits"] = visits
    name = flask.session.get("name", "stranger")
    return flask.render_template_string(PAGE, name=name, visits=visits)


@app.post("/name")
def name():
    flask.session["name"] = flask.request.form["name"]
    # 303 makes the browser fetch the page by GET; to reload that does not send the form again.
    return flask.redirect("/", 303)


@app.post("/upload")
def upload():
    file = flask.request.files["file"]
    digest = hashlib.sha256()
    for piece in iter(lambda: file.read(1 << 16), b""):
        digest.update(piece)
    return {"name": file.filename, "sha256": digest.hexdigest()}


@app.get("/count/<int:last>")
def count(last):
    # Sent line by line as the client takes them; never in memory as a whole.
    lines = (f"{number}\n" for number in range(1, last + 1))
    return flask.Response(lines, mimetype="text/plain")
