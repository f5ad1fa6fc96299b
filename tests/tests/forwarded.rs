//! Whose word counts about how the client came: `forwarded_allow_ips`, `secure_scheme_headers`.

use rgunicorn_tests::{Client, Launch, Server};

const APP: &str = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [environ['wsgi.url_scheme'].encode()]
";

/// The scheme that the application sees, or the status of the refusal.
fn scheme(mut client: Client, fields: &str) -> String {
    client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    let response = client.receive();
    match response.status {
        200 => response.text().to_owned(),
        refused => refused.to_string(),
    }
}

#[test]
fn this_machine_is_believed_by_default() {
    let server = Server::start(&[], APP);
    for (fields, expected) in [
        ("", "http"),
        ("X-Forwarded-Proto: https\r\n", "https"),
        ("X-Forwarded-Ssl: on\r\n", "https"),
        ("X-Forwarded-Proto: http\r\n", "http"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n", "400"),
    ] {
        assert_eq!(scheme(server.connect(), fields), expected, "{fields:?}");
    }
}

#[test]
fn strangers_are_not_believed() {
    let server = Server::start(&["--forwarded-allow-ips", "192.0.2.0/24"], APP);
    assert_eq!(scheme(server.connect(), "X-Forwarded-Proto: https\r\n"), "http");
    let contradiction = "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n";
    assert_eq!(scheme(server.connect(), contradiction), "http");
}

#[test]
fn whoever_may_open_the_unix_socket_is_believed() {
    let launch = Launch::new(APP).bind(&["unix:test.sock"]).args(&["--forwarded-allow-ips", ""]);
    let server = launch.start();
    let client = Client::connect_unix(&server.path("test.sock"));
    assert_eq!(scheme(client, "X-Forwarded-Proto: https\r\n"), "https");
}

#[test]
fn the_file_may_name_another_field() {
    let launch = Launch::new(APP)
        .file("gunicorn.conf.py", "secure_scheme_headers = {'X-TLS': 'yes'}\n")
        .args(&["--forwarded-allow-ips", "*"]);
    let server = launch.start();
    assert_eq!(scheme(server.connect(), "x-tls: yes\r\n"), "https");
    assert_eq!(scheme(server.connect(), "X-Forwarded-Proto: https\r\n"), "http");
}
