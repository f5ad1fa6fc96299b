//! The server behind the real nginx, by every kind of connection that nginx makes.

use rgunicorn_tests::{
    BOTTLE, Connections, DJANGO, FALCON, FLASK, Framework, Launch, Nginx, PYRAMID, Signal,
    Upstream, eventually, measured, visit,
};

const BINDS: [&str; 2] = ["127.0.0.1:0", Nginx::SERVER_SOCKET];

#[test]
fn bottle_is_served() {
    serve(&BOTTLE);
}

#[test]
fn django_is_served() {
    serve(&DJANGO);
}

#[test]
fn falcon_is_served() {
    serve(&FALCON);
}

#[test]
fn flask_is_served() {
    serve(&FLASK);
}

#[test]
fn pyramid_is_served() {
    serve(&PYRAMID);
}

fn serve(framework: &Framework) {
    let Some(launch) = framework.launch() else { return };
    let server = launch.bind(&BINDS).args(&["--workers", "2"]).start();
    let Some(nginx) = Nginx::before(&server) else { return };
    for (upstream, connections) in Nginx::WAYS {
        visit(&server, &nginx.entrance(upstream, connections), "https");
    }
    assert_untroubled(&nginx);
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

/// Tells what it sees of the connection.
const TELLING: &str = r#"
def app(environ, start_response):
    length = sum(map(len, iter(lambda: environ["wsgi.input"].read(65536), b"")))
    start_response("200 OK", [])
    told = [environ["SERVER_PROTOCOL"], environ["wsgi.url_scheme"], environ.get("REMOTE_PORT")]
    return [f"{told[0]} {told[1]} {told[2] or '-'} {length}".encode()]
"#;

#[test]
fn connections_are_kept_exactly_when_nginx_keeps_them() {
    let server = Launch::new(TELLING).bind(&BINDS).start();
    let Some(nginx) = Nginx::alone_before(&server) else { return };
    for connections in [Connections::Close, Connections::KeepAlive] {
        let mut client = nginx.entrance(Upstream::Tcp, connections).connect();
        let told: Vec<String> = (0..5).map(|_| client.get("/").text().to_owned()).collect();
        let (version, one) = match connections {
            Connections::Close => ("HTTP/1.0 https ", false),
            Connections::KeepAlive => ("HTTP/1.1 https ", true),
        };
        assert!(told.iter().all(|told| told.starts_with(version)), "{told:?}");
        assert_eq!(told.iter().all(|port| *port == told[0]), one, "{connections:?}: {told:?}");
    }
    assert_untroubled(&nginx);
}

#[test]
fn a_large_upload_arrives_by_every_way() {
    let server = Launch::new(TELLING).bind(&BINDS).start();
    let Some(nginx) = Nginx::alone_before(&server) else { return };
    let body = vec![b'x'; 64 << 20];
    let worker = server.wait_for_workers(1)[0];
    assert_eq!(server.get("/").status, 200);
    let before = worker.peak_memory_bytes();
    for (upstream, connections) in Nginx::WAYS {
        let mut client = nginx.entrance(upstream, connections).connect();
        let response = client.post("/", &body);
        assert!(response.text().ends_with(" 67108864"), "{upstream:?} {connections:?}");
    }
    let growth = worker.peak_memory_bytes() - before;
    measured(&format!("4 uploads of 64 MiB behind nginx take {} KiB", growth >> 10));
    assert!(growth <= 6 << 20, "{growth} bytes");
}

#[test]
fn many_clients_at_once_lose_nothing() {
    for workers in ["1", "4"] {
        let server = Launch::new(TELLING).bind(&BINDS).args(&["--workers", workers]).start();
        let Some(nginx) = Nginx::before(&server) else { return };
        ask_from_all_sides(&nginx, 100);
        assert_untroubled(&nginx);
    }
}

#[test]
fn a_reload_behind_nginx_loses_nothing() {
    let server = Launch::new(TELLING).bind(&BINDS).args(&["--workers", "2"]).start();
    let Some(nginx) = Nginx::before(&server) else { return };
    let old = server.wait_for_workers(2);
    std::thread::scope(|threads| {
        let clients = threads.spawn(|| ask_from_all_sides(&nginx, 500));
        server.signal(Signal::SIGHUP);
        clients.join().unwrap();
    });
    eventually("the old workers' end", || {
        old.iter().all(|worker| !worker.is_alive()).then_some(())
    });
    // What nginx tried again, because a connection that it kept was closed, is no loss.
    assert_eq!(server.wait_for_workers(2).len(), 2);
}

/// Two clients by each way, each of which asks so often.
fn ask_from_all_sides(nginx: &Nginx, count: usize) {
    std::thread::scope(|clients| {
        for (upstream, connections) in Nginx::WAYS.into_iter().chain(Nginx::WAYS) {
            clients.spawn(move || {
                let mut client = nginx.entrance(upstream, connections).connect();
                for number in 0..count {
                    let response = client.get("/");
                    assert_eq!(response.status, 200, "{upstream:?} {connections:?}, {number}");
                    if response.closes() {
                        client = nginx.entrance(upstream, connections).connect();
                    }
                }
            });
        }
    });
}

/// nginx logs an upstream that closes early, sends too much or breaks the protocol.
fn assert_untroubled(nginx: &Nginx) {
    let troubles: Vec<String> =
        nginx.log().into_iter().filter(|line| line.contains("upstream")).collect();
    let harmless = |line: &String| line.contains("is buffered to a temporary file");
    assert!(troubles.iter().all(harmless), "{troubles:#?}");
}
