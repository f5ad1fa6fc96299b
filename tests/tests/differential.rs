//! The same bytes to this server and to gunicorn, from http1's corpus: the answers must be the same,
//! and the environ that applications see, but for the differences listed below with their reasons.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};

use rgunicorn_tests::{DEADLINE, Launch, Server, skip, virtualenv};

/// Differences that are meant to be.
struct Accepted {
    reason: &'static str,
    /// Name of the message, our answers, gunicorn's: statuses, `close` where the connection ends,
    /// and of the environ what the other application did not see.
    cases: &'static [(&'static str, &'static str, &'static str)],
}

const ACCEPTED: &[Accepted] = &[
    Accepted {
        reason: "RFC 9112 §3.2: a 400 for HTTP/1.1 without Host, and for one that is no host",
        cases: &[
            ("host-missing", "400 close", "200"),
            ("host-unclosed-bracket", "400 close", "200"),
            ("host-with-bad-port", "400 close", "200"),
            ("host-with-path", "400 close", "200"),
            ("host-with-space", "400 close", "200"),
            ("host-with-userinfo", "400 close", "200"),
        ],
    },
    Accepted {
        reason: "RFC 9112 §3.2.2, §3.2.3 and RFC 9110 §4.2: targets of these forms have a host, \
                 no userinfo, and in a CONNECT a port",
        cases: &[
            ("target-absolute-with-userinfo", "400 close", "200"),
            ("target-absolute-without-host", "400 close", "200"),
            ("target-connect-with-path", "400 close", "200 close"),
            ("target-connect-without-port", "400 close", "200 close"),
        ],
    },
    Accepted {
        reason: "a CONNECT's target is all there is of a path; urlsplit takes the host for a scheme",
        cases: &[(
            "connect-authority",
            r#"200 close PATH_INFO="example.com:443""#,
            r#"200 close PATH_INFO="443""#,
        )],
    },
    Accepted {
        reason: "RFC 9110 §4.2.3: an absolute target without a path means the path /",
        cases: &[(
            "target-absolute-form-without-path",
            r#"200 PATH_INFO="/""#,
            r#"200 PATH_INFO="""#,
        )],
    },
    Accepted {
        reason: "RFC 9110 §7.6.1: every option of every Connection field counts",
        cases: &[
            ("get-connection-close-among-options", "200 close", "200"),
            ("get-connection-close-in-second-field", "200 close", "200"),
        ],
    },
    Accepted {
        reason: "RFC 9110 §2.5: a higher minor version is read as the highest that is known",
        cases: &[(
            "get-http12-is-read-as-http11",
            r#"200 SERVER_PROTOCOL="HTTP/1.1""#,
            r#"200 SERVER_PROTOCOL="HTTP/1.2""#,
        )],
    },
    Accepted {
        reason: "RFC 9110 §15.6.6: 505 is the status for a version",
        cases: &[
            ("second-of-two-pipelined-is-wrong", "200; 505 close", "200; 400 close"),
            ("version-0-9", "505 close", "400 close"),
            ("version-2-0", "505 close", "400 close"),
            ("version-h2-preface", "505 close", "400 close"),
        ],
    },
    Accepted {
        reason: "RFC 9112 §6.1: 501 for a coding that is not decoded; an application would take \
                 the coded bytes for its body",
        cases: &[
            ("transfer-encoding-gzip-before-chunked", "501 close", "200 close"),
            ("transfer-encoding-identity-before-chunked", "501 close", "200"),
        ],
    },
    Accepted {
        reason: "RFC 9110 §10.1.4: what is no coding at all is malformed, not unknown",
        cases: &[
            ("transfer-encoding-empty", "400 close", "501 close"),
            ("transfer-encoding-list-with-empty-element", "400 close", "501 close"),
            ("transfer-encoding-quoted", "400 close", "501 close"),
        ],
    },
    Accepted {
        reason: "RFC 9112 §7.1, RFC 9110 §8.6: sizes must not overflow; 64 bits are enough",
        cases: &[
            ("chunk-size-overflow", "400 close", ""),
            ("chunk-size-seventeen-digits", "400 close", "200"),
            ("content-length-overflow", "400 close", "200"),
        ],
    },
    Accepted {
        reason: "RFC 9112 §7.1.1: chunk extensions have a limit; gunicorn waits for their end",
        cases: &[("chunk-extensions-too-long", "400 close", "")],
    },
    Accepted {
        reason: "RFC 9112 §8: a body that ends too early is not complete, and its client is gone",
        cases: &[
            ("chunk-last-cut-short", "", "400 close"),
            ("content-length-body-cut-short", "", "200"),
        ],
    },
    Accepted {
        reason: "a line is refused as soon as it is above its limit; gunicorn allows for CRLF first",
        cases: &[("request-line-endless", "414 close", "")],
    },
];

/// Answers each request with what it saw of it, in a header field, so that `HEAD` tells it too.
const APP: &str = r#"
import json

NAMES = """REQUEST_METHOD SCRIPT_NAME PATH_INFO QUERY_STRING RAW_URI SERVER_PROTOCOL SERVER_NAME
REMOTE_ADDR CONTENT_TYPE CONTENT_LENGTH wsgi.url_scheme""".split()

def app(environ, start_response):
    seen = {n: v for n, v in environ.items() if n in NAMES or n.startswith("HTTP_")}
    seen["body"] = environ["wsgi.input"].read().decode("latin-1")
    seen = "\t".join(n + "=" + json.dumps(v) for n, v in seen.items())
    start_response("200 OK", [("Content-Length", "0"), ("X-Seen", seen)])
    return []
"#;

#[test]
fn gunicorn_answers_the_same() {
    let Some(gunicorn) = gunicorn() else { return };
    // The one kind of gunicorn's workers that needs nothing else and keeps connections open.
    let arguments = ["--worker-class", "gthread", "--no-control-socket"];
    let theirs = Launch::new(APP).program(gunicorn).args(&arguments).start();
    let ours = Launch::new(APP).start();
    let mut found = BTreeMap::new();
    for file in corpus() {
        let message = fs::read(&file).unwrap();
        let (ours, theirs) = (answers(&ours, &message), answers(&theirs, &message));
        if ours != theirs {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            found.insert(name, (differing(&ours, &theirs), differing(&theirs, &ours)));
        }
    }
    for Accepted { reason, cases } in ACCEPTED {
        for &(name, ours, theirs) in *cases {
            let expected = (ours.to_owned(), theirs.to_owned());
            assert_eq!(found.remove(name), Some(expected), "{name}: {reason}");
        }
    }
    assert!(found.is_empty(), "differences without a reason: {found:#?}");
}

/// gunicorn 27, if the environment with the test's packages holds it.
fn gunicorn() -> Option<PathBuf> {
    let path = virtualenv().join("bin/gunicorn");
    if !path.exists() {
        skip(&format!("there is no {}", path.display()));
        return None;
    }
    Some(path)
}

/// The messages of both kinds.
fn corpus() -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/http1/tests/corpus");
    ["valid", "invalid"]
        .iter()
        .flat_map(|kind| fs::read_dir(corpus.join(kind)).expect("http1 has a corpus"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "http"))
        .collect()
}

#[derive(Debug, PartialEq)]
struct Answer {
    /// `200`, or `200 close`.
    status: String,
    /// The application's view; empty if it was not asked.
    seen: BTreeSet<String>,
}

/// Sends a message and the end of all messages, and reads what comes back.
fn answers(server: &Server, message: &[u8]) -> Vec<Answer> {
    let mut stream = TcpStream::connect(server.address()).expect("the server accepts connections");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    // A server may answer and close before it has read everything; its answer has arrived then.
    drop(stream.write_all(message).and_then(|()| stream.shutdown(Shutdown::Write)));
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        result => drop(result.expect("the server closes the connection")),
    }
    parse(&bytes)
}

fn parse(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let fields: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(": ")).collect();
        let length = fields.get("Content-Length").map_or(0, |length| length.parse().unwrap());
        bytes = &bytes[end + 4 + length..];
        // Whether 100 Continue is sent depends on how soon the body comes.
        if status != "100" {
            let closes = fields.get("Connection") == Some(&"close");
            let seen = fields.get("X-Seen").into_iter().flat_map(|seen| seen.split('\t'));
            answers.push(Answer {
                status: format!("{status}{}", if closes { " close" } else { "" }),
                seen: seen.map(str::to_owned).collect(),
            });
        }
    }
    assert!(bytes.is_empty(), "{} after {answers:?}", bytes.escape_ascii());
    answers
}

/// These answers in one line, with what the applications of both saw differently.
fn differing(answers: &[Answer], others: &[Answer]) -> String {
    let lines = answers.iter().enumerate().map(|(index, answer)| {
        let other = others.get(index).filter(|other| !other.seen.is_empty());
        let seen = other.into_iter().flat_map(|other| answer.seen.difference(&other.seen));
        seen.fold(answer.status.clone(), |line, item| line + " " + item)
    });
    lines.collect::<Vec<_>>().join("; ")
}
