//! Whose word counts about how the client came, and about where the application is mounted:
//! `forwarded_allow_ips`, `secure_scheme_headers`, `SCRIPT_NAME`.

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

const MOUNTED: &str = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [(environ['SCRIPT_NAME'] + '|' + environ['PATH_INFO']).encode()]
";

/// `SCRIPT_NAME` and `PATH_INFO` of a request for this path with these fields, or the status.
fn mount(mut client: Client, path: &str, fields: &str) -> String {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    let response = client.receive();
    match response.status {
        200 => response.text().to_owned(),
        refused => refused.to_string(),
    }
}

#[test]
fn a_proxy_says_where_the_application_is_mounted() {
    let server = Server::start(&[], MOUNTED);
    for (path, fields, expected) in [
        ("/shop/cart", "", "|/shop/cart"),
        ("/shop/cart", "SCRIPT_NAME: /shop\r\n", "/shop|/cart"),
        ("/shop/cart", "Script_Name: /shop/\r\n", "/shop|/cart"),
        ("/shop", "SCRIPT_NAME: /shop\r\n", "/shop|"),
        ("/shopping", "SCRIPT_NAME: /shop\r\n", "500"),
        ("/shop/cart", "SCRIPT_NAME: /forged\r\nSCRIPT_NAME: /shop\r\n", "/shop|/cart"),
        ("/shop/cart", "SCRIPT-NAME: /shop\r\n", "|/shop/cart"),
    ] {
        assert_eq!(mount(server.connect(), path, fields), expected, "{path} {fields:?}");
    }
    server.wait_for("the request's path is not below SCRIPT_NAME");
}

#[test]
fn a_stranger_does_not() {
    let server = Server::start(&["--forwarded-allow-ips", "192.0.2.0/24"], MOUNTED);
    let seen = mount(server.connect(), "/shop/cart", "SCRIPT_NAME: /shop\r\n");
    assert_eq!(seen, "|/shop/cart");
}

#[test]
fn the_environment_says_where_the_application_is_mounted() {
    for launch in [
        Launch::new(MOUNTED).env("SCRIPT_NAME", "/shop"),
        Launch::new(MOUNTED).env("SCRIPT_NAME", "/else").args(&["--env", "SCRIPT_NAME=/shop"]),
        Launch::new(MOUNTED).args(&["--preload", "--env", "SCRIPT_NAME=/shop/"]),
    ] {
        let server = launch.start();
        assert_eq!(mount(server.connect(), "/shop/cart", ""), "/shop|/cart");
        let proxys = mount(server.connect(), "/shop/cart", "SCRIPT_NAME: /shop/cart\r\n");
        assert_eq!(proxys, "/shop/cart|");
    }
    let finished = Launch::new(MOUNTED).env("SCRIPT_NAME", "shop").args(&["--check-config"]).run();
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let expected = "invalid value for the environment variable SCRIPT_NAME: \"shop\"";
    assert!(finished.stderr.contains(expected), "{}", finished.stderr);
}
