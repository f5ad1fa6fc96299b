//! Every example runs and does what it says, started as its header tells.

#![expect(clippy::unwrap_used, reason = "helpers fail their test by panicking, as tests do")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rgunicorn_tests::{
    Client, Finished, Launch, Response, Server, Signal, eventually, example, example_within, skip,
    virtualenv,
};

#[test]
fn supervised_tcp_echoes_and_replaces_its_workers() {
    let server = example("supervised_tcp", &["127.0.0.1:0"]);
    let address = address(&server);
    let workers = server.wait_for_workers(4);
    assert_eq!(echo(address, "hello"), "hello");

    workers[0].signal(Signal::SIGKILL);
    eventually("a successor", || {
        let now = server.workers();
        (now.len() == 4 && !now.contains(&workers[0])).then_some(())
    });
    assert_eq!(echo(address, "hello again"), "hello again");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn job_queue_gives_each_job_to_one_worker_and_loses_none_in_a_reload() {
    let server = example("job_queue", &["jobs"]);
    server.wait_for_workers(4);
    let (queue, home) = (server.path("jobs"), server.path("asker"));
    let asker = UnixDatagram::bind(&home).unwrap();
    asker.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut buffer = [0; 64];
    let mut ask = |job: &str| {
        asker.send_to(job.as_bytes(), &queue).unwrap();
        let length = asker.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(ask("8051"), "8051 = 83 * 97");
    assert_eq!(ask("1000000007"), "1000000007 is prime");
    assert_eq!(ask("zero"), "a job is a whole number from 2 on");
    server.signal(Signal::SIGHUP);
    for _ in 0..50 {
        assert_eq!(ask("9"), "9 = 3 * 3");
    }
    server.wait_for("Reload completed.");
    assert_eq!(ask("13"), "13 is prime");
    let finished = server.stop(Signal::SIGTERM);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!queue.exists());
}

#[test]
fn http1_blocking_serves_what_a_protocol_without_io_understands() {
    let server = example("http1_blocking", &["127.0.0.1:0"]);
    let address = address(&server);
    let mut client = Client::connect(address);
    assert_eq!(client.get("/one").text(), "GET /one, 0 bytes\n");
    assert_eq!(client.post("/two", b"12345").text(), "POST /two, 5 bytes\n");

    client.send("POST /three HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n");
    client.send("Expect: 100-continue\r\n\r\n");
    assert_eq!(client.receive().status, 100);
    client.send("3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n");
    assert_eq!(client.receive().text(), "POST /three, 4 bytes\n");

    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.receive_head().status, 200);
    client.send("GET /without-host HTTP/1.1\r\n\r\n");
    assert_eq!(client.receive().status, 400);
    assert!(client.is_closed());
    // It leaves signals to the kernel.
    assert_eq!(server.stop(Signal::SIGTERM).code, None);
}

#[test]
fn http1_replay_tells_what_came_after_which_byte() {
    let corpus = examples().join("../crates/http1/tests/corpus");
    let path = |name: &str| corpus.join(name).to_str().unwrap().to_owned();
    let (valid, invalid) =
        (path("valid/chunked-trailers.http"), path("invalid/chunk-data-end-bare-lf.http"));
    let Finished { code, stdout, stderr, .. } = example("http1_replay", &[&valid, &invalid]).wait();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let expected = format!(
        r#"{valid}
    83  POST / HTTP/1.1
        Host: example.com
        Transfer-Encoding: chunked
        Trailer: Digest
    87  data "a"
    88  data "b"
    89  data "c"
   120  end of message
        Digest: xyz
        X-Time: 5
   120  closed
{invalid}
    66  POST / HTTP/1.1
        Host: example.com
        Transfer-Encoding: chunked
    70  data "a"
    71  data "b"
    72  data "c"
    73  400 chunk data is not followed by CRLF
"#
    );
    assert_eq!(stdout, expected);
}

#[test]
fn rust_handler_answers_complete_requests_and_logs_them() {
    let server = example("rust_handler", &["127.0.0.1:0"]);
    let mut client = Client::connect(address(&server));
    let text = client.get("/one?two").text().to_owned();
    let (answer, pid) = text.trim_end().rsplit_once(' ').unwrap();
    let (answer, thread) = answer.rsplit_once(" by ").unwrap();
    assert_eq!(answer, "GET /one?two, 0 bytes,");
    assert!(["worker-0 of", "worker-1 of"].contains(&thread), "{thread}");
    let pid: i32 = pid.parse().unwrap();
    assert!(server.workers().iter().any(|worker| worker.pid() == pid), "{pid} is a worker");
    // Whatever features other packages of the workspace switch on.
    let loaded = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(!loaded.contains("libpython"), "a handler in Rust needs no Python");

    // More than what waits in memory.
    let answer = client.post("/upload", &vec![b'x'; 3 << 20]);
    assert!(answer.text().starts_with("POST /upload, 3145728 bytes, by worker-"));
    server.wait_for("POST /upload 200 in ");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn hello_is_served() {
    let server = serve("hello.py");
    assert_eq!(server.get("/").text(), "Hello, World!\n");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn flask_app_is_served() {
    let Some(server) = serve_with("flask", "flask_app.py") else { return };
    let mut browser = Browser::new(server.address(), "");
    assert!(browser.get("/").text().contains("Hello, stranger! Visit 1."));
    let answer = browser.post("/name", "application/x-www-form-urlencoded", "name=J%C3%BCrgen");
    assert_eq!((answer.status, answer.header("Location")), (303, Some("/")));
    assert!(browser.get("/").text().contains("Hello, Jürgen! Visit 2."));
    browser.uploads_and_counts("");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn pyramid_app_is_served() {
    let Some(server) = serve_with("pyramid", "pyramid_app.py") else { return };
    let mut browser = Browser::new(server.address(), "");
    assert!(browser.get("/").text().contains("Visit 1."));
    assert!(browser.get("/").text().contains("Visit 2."));
    browser.uploads_and_counts("");
    browser.reads_source("pyramid_app.py");
    let answer = browser.post("/forget", "application/x-www-form-urlencoded", "");
    assert_eq!(answer.status, 303);
    assert!(browser.get("/").text().contains("Visit 1."));
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn django_project_is_served() {
    let Some(server) = serve_with("django", "django_project/wsgi.py") else { return };
    visits_django_project(Browser::new(server.address(), ""));
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn wsgi_in_axum_serves_django_beside_rust() {
    let Some(virtualenv) = virtualenv_with("django") else { return };
    let examples = examples();
    let arguments = ["127.0.0.1:0", examples.to_str().unwrap()];
    let server = example_within(&virtualenv, "wsgi_in_axum", &arguments);
    let address = address(&server);
    let mut client = Client::connect(address);
    assert!(client.get("/").text().starts_with("Rust."));
    assert_eq!(client.get("/upload").status, 404);
    visits_django_project(Browser::new(address, "/legacy"));
    drop(client);
    assert_eq!(server.stop(Signal::SIGINT).code, Some(0));
}

/// Does what the pages of `examples/django_project` offer.
fn visits_django_project(mut browser: Browser) {
    let page = browser.get("/");
    assert!(page.text().contains("Visit 1."));
    let action = format!("action=\"{}/upload\"", browser.mount);
    assert!(page.text().contains(&action), "{}", page.text());
    assert!(browser.get("/").text().contains("Visit 2."));

    // Django wants to see that a form comes from a page of its own.
    let (_, token) = page.text().split_once("name=\"csrfmiddlewaretoken\" value=\"").unwrap();
    let token = token.split('"').next().unwrap();
    let form = "application/x-www-form-urlencoded";
    assert_eq!(browser.post("/forget", form, "").status, 403);
    browser.uploads_and_counts(token);
    browser.reads_source("django_project/views.py");
    let answer = browser.post("/forget", form, &format!("csrfmiddlewaretoken={token}"));
    let index = format!("{}/", browser.mount);
    assert_eq!((answer.status, answer.header("Location")), (302, Some(index.as_str())));
    assert!(browser.get("/").text().contains("Visit 1."));
}

/// A client with cookies, which these frameworks keep their sessions in. It uses one connection as
/// long as the server does.
struct Browser {
    address: SocketAddr,
    /// Where the application is mounted; precedes all targets.
    mount: &'static str,
    client: Client,
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn new(address: SocketAddr, mount: &'static str) -> Self {
        Self { address, mount, client: Client::connect(address), cookies: Vec::new() }
    }

    fn get(&mut self, target: &str) -> Response {
        self.ask(&format!("GET {}{target}", self.mount), "", "")
    }

    fn post(&mut self, target: &str, content_type: &str, body: &str) -> Response {
        let length = body.len();
        let fields = format!("Content-Type: {content_type}\r\nContent-Length: {length}\r\n");
        self.ask(&format!("POST {}{target}", self.mount), &fields, body)
    }

    fn ask(&mut self, request: &str, fields: &str, body: &str) -> Response {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        self.client.send(format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n{fields}\r\n{body}"
        ));
        let response = self.client.receive();
        if response.closes() {
            self.client = Client::connect(self.address);
        }
        for (_, cookie) in
            response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie"))
        {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        response
    }

    /// A file of more than what the server or a framework keeps in memory, and a response without a
    /// length.
    fn uploads_and_counts(&mut self, csrf_token: &str) {
        let content = "0123456789abcdef".repeat(3 << 16);
        let body = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"csrfmiddlewaretoken\"\r\n\r\n\
             {csrf_token}\r\n\
             --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
             Content-Type: text/plain\r\n\r\n{content}\r\n--edge--\r\n"
        );
        let answer = self.post("/upload", "multipart/form-data; boundary=edge", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("\"a.txt\""), "{}", answer.text());
        assert!(answer.text().contains(DIGEST), "{}", answer.text());

        let answer = self.get("/count/1000");
        let numbers: Vec<String> = (1..=1000).map(|number: u32| number.to_string()).collect();
        assert_eq!(answer.text().lines().collect::<Vec<_>>(), numbers);
        assert!(answer.chunks.is_some(), "streamed");
    }

    fn reads_source(&mut self, file: &str) {
        let answer = self.get("/source");
        assert_eq!(answer.text(), fs::read_to_string(examples().join(file)).unwrap());
        assert!(answer.header("Content-Length").is_some());
    }
}

/// Of the uploaded file: `python -c "print('0123456789abcdef' * (3 << 16), end='')" | sha256sum`.
const DIGEST: &str = "5bcd44e1ae4d34173b36402d6b2f1ecdb3460aac1d66937a5fcc92beb5ec6779";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Serves a Python example by the command line that its docstring tells, but on a free port.
fn serve(file: &str) -> Server {
    let examples = examples();
    let source = fs::read_to_string(examples.join(file)).unwrap();
    let command = source.lines().find_map(|line| line.strip_prefix("    rgunicorn ")).unwrap();
    let arguments: Vec<&str> = command
        .split(' ')
        .map(|word| if word == "examples" { examples.to_str().unwrap() } else { word })
        .collect();
    Launch::new("").app(None).env("VIRTUAL_ENV", virtualenv()).args(&arguments).start()
}

/// The same for an example that needs a package.
fn serve_with(package: &str, file: &str) -> Option<Server> {
    virtualenv_with(package).map(|_| serve(file))
}

/// The virtual environment if it has a package; `None`, and a line that says so, without it.
fn virtualenv_with(package: &str) -> Option<PathBuf> {
    let virtualenv = virtualenv();
    let libraries = fs::read_dir(virtualenv.join("lib")).unwrap();
    let installed = libraries
        .flatten()
        .any(|python| python.path().join("site-packages").join(package).exists());
    if !installed {
        skip(&format!("{} has no {package}", virtualenv.display()));
        return None;
    }
    Some(virtualenv)
}

/// Waits until an example listens, and tells where.
fn address(server: &Server) -> SocketAddr {
    let line = server.wait_for("Listening at: ");
    let (_, address) = line.split_once("://").unwrap();
    address.split(' ').next().unwrap().parse().unwrap()
}

fn echo(address: SocketAddr, text: &str) -> String {
    let mut client = Client::connect(address);
    client.send(text);
    client.shut_down_sending();
    String::from_utf8(client.read_to_end()).unwrap()
}
