//! What a newcomer does in the first minute.

use rgunicorn_tests::{Client, Connections, Launch, Load, Server, Signal, virtualenv};

#[test]
fn hello_is_served() {
    let server = Server::start(&[], include_str!("../../examples/hello.py"));
    let response = server.get("/");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Type"), Some("text/plain"));
    assert_eq!(response.text(), "Hello, World!\n");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn hello_is_served_on_a_unix_socket() {
    let server =
        Launch::new(include_str!("../../examples/hello.py")).bind(&["unix:server.sock"]).start();
    let mut client = Client::connect_unix(&server.path("server.sock"));
    assert_eq!(client.get("/").text(), "Hello, World!\n");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn flask_is_served_from_a_virtual_environment() {
    let server =
        Launch::new(FLASK).env("VIRTUAL_ENV", virtualenv()).args(&["--workers", "2"]).start();
    let mut client = server.connect();
    assert_eq!(client.get("/hello/J%C3%BCrgen").text(), "Hello, Jürgen!");

    let response = server.connect().post("/sum", b"1 2 3");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    assert_eq!(response.text().trim_end(), r#"{"sum":6}"#);

    let response = server.get("/missing");
    assert_eq!(response.status, 404);
    assert_eq!(server.get("/broken").status, 500);
    server.wait_for("ZeroDivisionError");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn flask_answers_correctly_under_load() {
    let server =
        Launch::new(FLASK).env("VIRTUAL_ENV", virtualenv()).args(&["--workers", "4"]).start();
    for connections in [Connections::KeepAlive, Connections::Close] {
        let load = Load::start(&server, connections, 16);
        load.wait_for_answers(1_000);
        let report = load.stop();
        assert_eq!(report.lost, []);
        let bodies: Vec<&String> = report.answered.keys().collect();
        assert_eq!(bodies, ["Hello from Flask!"]);
    }
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

const FLASK: &str = r#"
import flask

app = flask.Flask(__name__)

@app.get("/")
def index():
    return "Hello from Flask!"

@app.get("/hello/<name>")
def hello(name):
    return f"Hello, {name}!"

@app.post("/sum")
def sum_of_body():
    return {"sum": sum(map(int, flask.request.get_data().split()))}

@app.get("/broken")
def broken():
    return 1 / 0
"#;
