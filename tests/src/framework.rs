//! One small site, written in each of the frameworks that people use.
//!
//! All of them do the same, so that one visit judges them all: a greeting, a count of visits in a
//! signed cookie, an upload, a stream, a file, a redirection, and an error.

use std::fs;

use crate::browser::{Browser, Entrance};
use crate::launch::Launch;
use crate::notice::skip;
use crate::server::Server;
use crate::virtualenv::virtualenv;

/// A framework and the site in it, `tests/apps`.
#[derive(Clone, Copy, Debug)]
pub struct Framework {
    /// The name under which Python imports it.
    pub package: &'static str,
    source: &'static str,
}

/// Bottle.
pub const BOTTLE: Framework =
    Framework { package: "bottle", source: include_str!("../apps/bottle_app.py") };
/// Django.
pub const DJANGO: Framework =
    Framework { package: "django", source: include_str!("../apps/django_app.py") };
/// Falcon.
pub const FALCON: Framework =
    Framework { package: "falcon", source: include_str!("../apps/falcon_app.py") };
/// Flask.
pub const FLASK: Framework =
    Framework { package: "flask", source: include_str!("../apps/flask_app.py") };
/// Pyramid.
pub const PYRAMID: Framework =
    Framework { package: "pyramid", source: include_str!("../apps/pyramid_app.py") };

impl Framework {
    /// A server of the site, to be started; `None`, and a line that says so, if the framework is
    /// not installed.
    pub fn launch(&self) -> Option<Launch> {
        let environment = virtualenv();
        let installed = fs::read_dir(environment.join("lib")).unwrap().flatten().any(|python| {
            let packages = python.path().join("site-packages");
            // Bottle is a module, the others are packages.
            packages.join(self.package).exists()
                || packages.join(self.package).with_extension("py").exists()
        });
        if !installed {
            skip(&format!("{} lacks {}", environment.display(), self.package));
            return None;
        }
        let launch = Launch::new(self.source)
            .file("witness.py", include_str!("../apps/witness.py"))
            .file("content.bin", &content())
            .env("VIRTUAL_ENV", environment);
        Some(launch)
    }
}

/// Goes to every page of the site. The server is asked for its log, wherever the entrance is; the
/// site must believe that it is visited by this scheme.
pub fn visit(server: &Server, entrance: &Entrance, scheme: &str) {
    let mut browser = Browser::new(entrance.clone());
    assert_eq!(browser.get("/hello/J%C3%BCrgen").text(), "Hello, Jürgen!");
    assert_eq!(browser.get("/url?a=b").text(), format!("{scheme}://localhost/url?a=b"));

    for visits in ["1", "2", "3"] {
        assert_eq!(browser.get("/visits").text(), visits);
    }
    assert_eq!(Browser::new(entrance.clone()).get("/visits").text(), "1");

    // More than what server, proxy and frameworks keep in memory.
    let response = browser.upload("/upload", "A title", content().as_bytes());
    assert_eq!(response.text(), format!("A title a.bin {CONTENT_SHA256}"));

    let response = browser.get("/stream/1000");
    let numbers: Vec<String> = (1..=1000).map(|number: u32| number.to_string()).collect();
    assert_eq!(response.text().lines().collect::<Vec<_>>(), numbers);
    assert_eq!(response.header("Content-Length"), None, "streamed");

    let response = browser.get("/file");
    assert_eq!(response.header("Content-Length"), Some("3145728"));
    assert!(response.body == content().as_bytes(), "the file as it is");
    server.wait_for("left to the file wrapper: /file");

    let response = browser.get("/redirect");
    assert_eq!(response.status, 303);
    let location = response.header("Location").expect("a redirection says where to");
    assert!(location.ends_with("/visits"), "{location}");

    assert_eq!(browser.get("/missing").status, 404);
    assert_eq!(browser.get("/broken").status, 500);
    server.wait_for("LookupError: broken on purpose");
    assert_eq!(browser.get("/hello/again").text(), "Hello, again!");
}

/// The file that the sites send and receive.
fn content() -> String {
    "0123456789abcdef".repeat(3 << 16)
}

/// `python -c "print('0123456789abcdef' * (3 << 16), end='')" | sha256sum`.
const CONTENT_SHA256: &str = "5bcd44e1ae4d34173b36402d6b2f1ecdb3460aac1d66937a5fcc92beb5ec6779";
