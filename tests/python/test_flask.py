"""A real framework with what it leans on: cookies, redirects, uploads, streams."""

import hashlib
import json

import pytest

APP = """
import hashlib
import flask

app = flask.Flask(__name__)
app.secret_key = "for this test only"

@app.post("/login")
def login():
    flask.session["name"] = flask.request.form["name"]
    return flask.redirect(flask.url_for("who"))

@app.get("/who")
def who():
    return flask.session.get("name", "nobody")

@app.post("/upload")
def upload():
    file = flask.request.files["file"]
    content = file.read()
    digest = hashlib.sha256(content).hexdigest()
    return {"name": file.filename, "size": len(content), "sha256": digest}

@app.get("/stream")
def stream():
    return flask.Response((f"{number}\\n" for number in range(1000)), mimetype="text/plain")

@app.get("/file")
def file():
    return flask.send_file(__file__, mimetype="text/x-python", conditional=True)
"""

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def server(serve):
    return serve(APP, "--workers=2")


def test_a_session_lives_across_requests(server):
    status, headers, _ = server.request("POST", "/login", "name=J%C3%BCrgen", FORM)
    assert (status, headers["Location"]) == (302, "/who")
    cookie = headers["Set-Cookie"].split(";")[0]
    _, _, body = server.request("GET", "/who", headers={"Cookie": cookie})
    assert body.decode() == "Jürgen"
    assert server.request("GET", "/who")[2] == b"nobody"


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
def test_an_upload_arrives_whole(server, size):
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
        + content
        + b"\r\n--edge--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    status, _, answer = server.request("POST", "/upload", body, headers)
    assert status == 200
    expected = {"name": "a.bin", "size": size, "sha256": hashlib.sha256(content).hexdigest()}
    assert json.loads(answer) == expected


def test_a_stream_arrives_whole(server):
    _, headers, body = server.request("GET", "/stream")
    assert headers["Transfer-Encoding"] == "chunked"
    assert body.split() == [b"%d" % number for number in range(1000)]


def test_a_file_is_sent_whole_and_in_part(server, tmp_path):
    content = (tmp_path / "app.py").read_bytes()
    assert server.request("GET", "/file")[2] == content
    status, headers, body = server.request("GET", "/file", headers={"Range": "bytes=10-19"})
    assert (status, body) == (206, content[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(content)}"
