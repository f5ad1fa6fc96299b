//! The settings that work, one row each, in the order of `--help`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use rgunicorn_arbiter::{Group, Options, User};

use super::value::{
    INT_MAX, access_format, account, config_location, environment, list, log_level, log_target,
    memory_kind, mode, name, number, optional, optional_bytes, optional_seconds, path, seconds,
    switch, text, umask, worker_class,
};
use super::{Definition, Environment, Raw, Rejection, Section, Takes, bind, forwarded};

/// The table.
pub static SETTINGS: &[Definition] = &[
    Definition {
        name: "config",
        section: Section::ConfigFile,
        flags: &["-c", "--config"],
        takes: Takes::One("CONFIG"),
        environment: None,
        apply: |raw, settings| {
            settings.config = Some(config_location(raw)?);
            Ok(())
        },
        show: |settings| match &settings.config {
            Some(location) => location.to_string(),
            None => "./gunicorn.conf.py".into(),
        },
        help: "Python file with settings: PATH, file:PATH or python:MODULE.",
        doc: "The file is executed as Python. Each global whose name is exactly that of a setting \
              sets it; every other name is yours. A path is relative to the directory in which the \
              server was started, not to `chdir`. The file is executed again at SIGHUP.",
    },
    Definition {
        name: "wsgi_app",
        section: Section::ConfigFile,
        flags: &[],
        takes: Takes::One("APP_MODULE"),
        environment: None,
        apply: |raw, settings| {
            const ALLOWED: &str = "module:attribute, such as 'shop.wsgi:application'";
            settings.wsgi_app = raw.word(ALLOWED)?.into();
            Ok(())
        },
        show: |settings| match settings.wsgi_app.as_str() {
            "" => "None".into(),
            app => app.into(),
        },
        help: "The application, if the command line names none.",
        doc: "`module`, `module:attribute` or `module:factory(\"argument\")`. The attribute \
              defaults to `application`.",
    },
    Definition {
        name: "bind",
        section: Section::ServerSocket,
        flags: &["-b", "--bind"],
        takes: Takes::Many("ADDRESS"),
        environment: Some(Environment {
            variable: "PORT",
            value: |port| {
                let mut address = OsString::from("0.0.0.0:");
                address.push(port);
                Raw::Text(address)
            },
            shown: "0.0.0.0:$PORT",
        }),
        apply: |raw, settings| {
            settings.bind = bind::parse(raw)?;
            Ok(())
        },
        show: |settings| list(&settings.bind),
        help: "Listen here: HOST, HOST:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME or fd://N. May be repeated.",
        doc: "`unix:@NAME` is a name of Linux's abstract namespace, `fd://N` a socket that the \
              process was started with. Sockets that systemd passes (`LISTEN_FDS`) are listened at \
              instead of all addresses. Several addresses may be given by repeating the flag, as a list in the config file, \
              or between commas. The port defaults to 8000. The command line replaces the \
              addresses of the config file. If the environment variable `PORT` is set, the \
              default is `0.0.0.0:$PORT`.",
    },
    Definition {
        name: "backlog",
        section: Section::ServerSocket,
        flags: &["--backlog"],
        takes: Takes::One("INT"),
        environment: None,
        apply: |raw, settings| {
            settings.backlog = number(raw, 0, INT_MAX)?;
            Ok(())
        },
        show: |settings| settings.backlog.to_string(),
        help: "Connections that the kernel keeps before they are accepted.",
        doc: "The kernel caps it, on Linux at `net.core.somaxconn`.",
    },
    Definition {
        name: "bind_mode",
        section: Section::ServerSocket,
        flags: &["--bind-mode"],
        takes: Takes::One("MODE"),
        environment: None,
        apply: |raw, settings| {
            settings.bind_mode = mode(raw)?;
            Ok(())
        },
        show: |settings| optional(settings.bind_mode.map(|mode| format!("{mode:o}"))),
        help: "Permissions of Unix sockets, octal as for chmod. Not in gunicorn.",
        doc: "To connect one needs to write: `660` lets in owner and group, which are those of \
              `user` and `group`. None leaves it to `umask`.",
    },
    Definition {
        name: "reuse_port",
        section: Section::ServerSocket,
        flags: &["--reuse-port"],
        takes: Takes::Nothing,
        environment: None,
        apply: |raw, settings| {
            settings.reuse_port = raw.switch()?;
            Ok(())
        },
        show: |settings| switch(settings.reuse_port),
        help: "Each worker listens at a TCP socket of its own, SO_REUSEPORT.",
        doc: "The kernel then spreads connections by the client's address, and not by who is idle. \
              A worker that stops answers who waits in its queue; whoever comes between its last \
              look and its end is reset, and so is the queue of a worker that dies. Without it \
              nobody is: the workers share one queue. Unix sockets are shared always.",
    },
    Definition {
        name: "workers",
        section: Section::WorkerProcesses,
        flags: &["-w", "--workers"],
        takes: Takes::One("INT"),
        environment: Some(Environment {
            variable: "WEB_CONCURRENCY",
            value: text,
            shown: "$WEB_CONCURRENCY",
        }),
        apply: |raw, settings| {
            settings.workers = number(raw, 1, Options::WORKERS_MAX.into())?;
            Ok(())
        },
        show: |settings| settings.workers.to_string(),
        help: "Number of worker processes.",
        doc: "A common start is twice the number of cores plus one, then measure. SIGTTIN adds a \
              worker and SIGTTOU takes one away while the server runs; SIGHUP returns to the \
              number configured. If the environment variable `WEB_CONCURRENCY` is set, it is the \
              default.",
    },
    Definition {
        name: "worker_class",
        section: Section::WorkerProcesses,
        flags: &["-k", "--worker-class"],
        takes: Takes::One("STRING"),
        environment: None,
        apply: |raw, settings| {
            settings.worker_class = worker_class(raw)?;
            Ok(())
        },
        show: |settings| settings.worker_class.to_string(),
        help: "Kind of workers: sync or gthread.",
        doc: "`sync` calls the application for one request at a time in each worker, on the main \
              thread; `gthread` on as many threads as `threads` says. In both slow clients do not \
              hold a worker up: the application is called when its request is complete. `sync` with \
              more than one thread is `gthread`.",
    },
    Definition {
        name: "threads",
        section: Section::WorkerProcesses,
        flags: &["--threads"],
        takes: Takes::One("INT"),
        environment: None,
        apply: |raw, settings| {
            settings.threads = number(raw, 1, super::Settings::THREADS_MAX.into())?;
            Ok(())
        },
        show: |settings| settings.threads.to_string(),
        help: "Threads of each worker that call the application.",
        doc: "For applications that wait for databases and other services. Python runs the code of \
              one thread at a time, so threads do not speed up computing: add workers for that. \
              `timeout` then watches the interpreter and no longer single requests.",
    },
    Definition {
        name: "worker_connections",
        section: Section::WorkerProcesses,
        flags: &["--worker-connections"],
        takes: Takes::One("INT"),
        environment: None,
        apply: |raw, settings| {
            settings.worker_connections = number(raw, 1, INT_MAX)?;
            Ok(())
        },
        show: |settings| settings.worker_connections.to_string(),
        help: "Connections that each worker holds at most, of every kind.",
        doc: "At the limit a worker stops accepting until one ends, and clients wait in the \
              listener's queue. gunicorn's default is 1000; here an idle connection costs less than \
              a kilobyte. Each needs a file descriptor: see `ulimit -n`.",
    },
    Definition {
        name: "max_requests",
        section: Section::WorkerProcesses,
        flags: &["--max-requests"],
        takes: Takes::One("INT"),
        environment: None,
        apply: |raw, settings| {
            settings.max_requests = number(raw, 0, INT_MAX)?;
            Ok(())
        },
        show: |settings| settings.max_requests.to_string(),
        help: "Replace a worker after this many requests; 0 never does.",
        doc: "Against memory that grows. The worker serves on until its successor is ready, and at most a quarter of the workers is replaced at a time.",
    },
    Definition {
        name: "max_requests_jitter",
        section: Section::WorkerProcesses,
        flags: &["--max-requests-jitter"],
        takes: Takes::One("INT"),
        environment: None,
        apply: |raw, settings| {
            settings.max_requests_jitter = number(raw, 0, INT_MAX)?;
            Ok(())
        },
        show: |settings| settings.max_requests_jitter.to_string(),
        help: "Add up to so many requests to max_requests, at random for each worker.",
        doc: "So that the workers are not all replaced at once.",
    },
    Definition {
        name: "max_worker_lifetime",
        section: Section::WorkerProcesses,
        flags: &["--max-worker-lifetime"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.max_worker_lifetime = optional_seconds(raw)?;
            Ok(())
        },
        show: |settings| seconds(settings.max_worker_lifetime),
        help: "Replace a worker that has served for so long; 0 never does. Not in gunicorn.",
        doc: "In seconds, from the moment at which it was ready. It serves on until its successor \
              is ready, and at most a quarter of the workers is replaced at a time.",
    },
    Definition {
        name: "max_worker_lifetime_jitter",
        section: Section::WorkerProcesses,
        flags: &["--max-worker-lifetime-jitter"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.max_worker_lifetime_jitter = Duration::from_secs(number(raw, 0, INT_MAX)?);
            Ok(())
        },
        show: |settings| settings.max_worker_lifetime_jitter.as_secs().to_string(),
        help: "Add up to so many seconds to max_worker_lifetime, at random for each worker. Not in \
               gunicorn.",
        doc: "So that the workers are not all replaced at once.",
    },
    Definition {
        name: "max_worker_memory",
        section: Section::WorkerProcesses,
        flags: &["--max-worker-memory"],
        takes: Takes::One("BYTES"),
        environment: None,
        apply: |raw, settings| {
            settings.max_worker_memory = optional_bytes(raw)?;
            Ok(())
        },
        show: |settings| settings.max_worker_memory.unwrap_or(0).to_string(),
        help: "Replace a worker that takes more memory, like 500M; 0 never does. Not in gunicorn.",
        doc: "In bytes; K, M and G stand for 1024 of them, and so on. The master looks every ten \
              seconds, and first when the worker is ready: who takes more then stays, for its \
              successor would take no less, and the log has a warning. A worker serves on until its \
              successor is ready, and at most a quarter of the workers is replaced at a time.",
    },
    Definition {
        name: "max_worker_memory_kind",
        section: Section::WorkerProcesses,
        flags: &["--max-worker-memory-kind"],
        takes: Takes::One("STRING"),
        environment: None,
        apply: |raw, settings| {
            settings.max_worker_memory_kind = memory_kind(raw)?;
            Ok(())
        },
        show: |settings| settings.max_worker_memory_kind.to_string(),
        help: "Which memory counts: pss or rss. Not in gunicorn.",
        doc: "`pss` is the proportional set: pages that processes share, as with `preload_app`, are \
              divided among them. `rss` is the resident set, in which they count whole in each.",
    },
    Definition {
        name: "timeout",
        section: Section::WorkerProcesses,
        flags: &["-t", "--timeout"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.timeout = optional_seconds(raw)?;
            Ok(())
        },
        show: |settings| seconds(settings.timeout),
        help: "Kill and replace a worker that is silent for longer; 0 never does.",
        doc: "In seconds. A worker is silent while the application works on a request, so this is \
              the longest that one may take.",
    },
    Definition {
        name: "boot_timeout",
        section: Section::WorkerProcesses,
        flags: &["--boot-timeout"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.boot_timeout = optional_seconds(raw)?;
            Ok(())
        },
        show: |settings| seconds(settings.boot_timeout),
        help: "Kill and replace a worker that takes longer to start; 0 never does.",
        doc: "In seconds, from the fork until the application is loaded. Unlike `timeout` it is off \
              by default: set it above the longest start. A reload whose new workers take longer is \
              abandoned.",
    },
    Definition {
        name: "request_timeout",
        section: Section::WorkerProcesses,
        flags: &["--request-timeout"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.request_timeout = optional_seconds(raw)?;
            Ok(())
        },
        show: |settings| seconds(settings.request_timeout),
        help: "How long the application may work on one request; 0 for ever. Not in gunicorn.",
        doc: "In seconds, from the application's call to the end of its response. Then the client \
              gets 504 at once or, if the response has begun, sees its connection end in the midst \
              of it, and the application gets `rgunicorn.RequestTimeout`, which is no `Exception`, \
              before its next step in Python. Other requests go on, also those of other threads. A \
              thread that has not come back as long again after that, at least 5 seconds, costs \
              its worker, once a successor is ready. In `sync` workers set it below `timeout`, which ends \
              the worker.",
    },
    Definition {
        name: "queue_timeout",
        section: Section::WorkerProcesses,
        flags: &["--queue-timeout"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.queue_timeout = optional_seconds(raw)?;
            Ok(())
        },
        show: |settings| seconds(settings.queue_timeout),
        help: "How long a request may wait for the application; 0 for ever. Not in gunicorn.",
        doc: "In seconds, while all application threads are busy. A request that has waited longer \
              gets 503 with a `Retry-After` of as many seconds instead of an answer that comes too \
              late, and its connection goes on. Whatever this says, a request that has waited 100 ms \
              and whose client has closed the connection, or its sending side, does not reach the \
              application.",
    },
    Definition {
        name: "graceful_timeout",
        section: Section::WorkerProcesses,
        flags: &["--graceful-timeout"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.graceful_timeout = Duration::from_secs(number(raw, 0, INT_MAX)?);
            Ok(())
        },
        show: |settings| settings.graceful_timeout.as_secs().to_string(),
        help: "How long workers may finish their requests when told to stop.",
        doc: "In seconds. Workers that still run after it are killed.",
    },
    Definition {
        name: "keepalive",
        section: Section::WorkerProcesses,
        flags: &["--keep-alive"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.keepalive = optional_seconds(raw)?;
            Ok(())
        },
        show: |settings| seconds(settings.keepalive),
        help: "How long an idle connection may wait for its next request; 0 closes it.",
        doc: "In seconds. 0 closes each connection after its response. Set it above the idle time \
              of a load balancer in front. Unlike in gunicorn, `sync` workers keep connections \
              alive.",
    },
    Definition {
        name: "header_timeout",
        section: Section::WorkerProcesses,
        flags: &["--header-timeout"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.header_timeout = Duration::from_secs(number(raw, 1, INT_MAX)?);
            Ok(())
        },
        show: |settings| settings.header_timeout.as_secs().to_string(),
        help: "How long a request's head may take, in seconds. Not in gunicorn.",
        doc: "From the connection's first byte, or from accepting it, to the end of the head. A client that is slower gets 408 or is closed; it holds no worker up meanwhile.",
    },
    Definition {
        name: "body_timeout",
        section: Section::WorkerProcesses,
        flags: &["--body-timeout"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.body_timeout = Duration::from_secs(number(raw, 1, INT_MAX)?);
            Ok(())
        },
        show: |settings| settings.body_timeout.as_secs().to_string(),
        help: "Longest silence within a request's body, in seconds. Not in gunicorn.",
        doc: "A client that is silent for longer is given up.",
    },
    Definition {
        name: "request_buffering",
        section: Section::WorkerProcesses,
        flags: &["--no-request-buffering"],
        takes: Takes::Off,
        environment: None,
        apply: |raw, settings| {
            settings.request_buffering = raw.switch()?;
            Ok(())
        },
        show: |settings| switch(settings.request_buffering),
        help: "Let the application read large bodies while clients send them. Not in gunicorn.",
        doc: "Otherwise, and by default, the application is called when a body is here as a whole, \
              above 1 MiB in a temporary file. Without buffering it reads bodies above 1 MiB, and \
              those of unknown length (`Transfer-Encoding: chunked`), from the client itself, as \
              in gunicorn: the first bytes reach it at once and no file is written, but \
              a client that sends slowly holds a worker, or a thread, until it is done. One that is \
              silent for `body_timeout`, or sends less than 500 bytes a second on average, gets \
              408. Good behind nginx, which buffers requests itself unless \
              `proxy_request_buffering` is off.",
    },
    Definition {
        name: "write_timeout",
        section: Section::WorkerProcesses,
        flags: &["--write-timeout"],
        takes: Takes::One("SECONDS"),
        environment: None,
        apply: |raw, settings| {
            settings.write_timeout = Duration::from_secs(number(raw, 1, INT_MAX)?);
            Ok(())
        },
        show: |settings| settings.write_timeout.as_secs().to_string(),
        help: "Longest time in which a client takes nothing of its response, in seconds. Not in gunicorn.",
        doc: "A client that reads nothing for longer is given up; one that reads slowly is not.",
    },
    Definition {
        name: "limit_request_line",
        section: Section::Security,
        flags: &["--limit-request-line"],
        takes: Takes::One("BYTES"),
        environment: None,
        apply: |raw, settings| {
            settings.limit_request_line = number(raw, 0, INT_MAX)?;
            Ok(())
        },
        show: |settings| settings.limit_request_line.to_string(),
        help: "Longest request line in bytes; 0 is the most possible, 1 MiB.",
        doc: "Counted without the line end. A longer one is refused with 414.",
    },
    Definition {
        name: "limit_request_fields",
        section: Section::Security,
        flags: &["--limit-request-fields"],
        takes: Takes::One("INT"),
        environment: None,
        apply: |raw, settings| {
            settings.limit_request_fields = number(raw, 0, 32_768)?;
            Ok(())
        },
        show: |settings| settings.limit_request_fields.to_string(),
        help: "Most header fields of a request; 0 is the most possible, 32768.",
        doc: "A request with more is refused with 431.",
    },
    Definition {
        name: "limit_request_field_size",
        section: Section::Security,
        // The underscore is gunicorn's; the consistent spelling works too.
        flags: &["--limit-request-field_size", "--limit-request-field-size"],
        takes: Takes::One("BYTES"),
        environment: None,
        apply: |raw, settings| {
            settings.limit_request_field_size = number(raw, 0, INT_MAX)?;
            Ok(())
        },
        show: |settings| settings.limit_request_field_size.to_string(),
        help: "Longest header field in bytes; 0 is the most possible, 1 MiB.",
        doc: "Counted are name, colon, value and line end together. A longer one is refused with \
              431.",
    },
    Definition {
        name: "limit_request_body",
        section: Section::Security,
        flags: &["--limit-request-body"],
        takes: Takes::One("BYTES"),
        environment: None,
        apply: |raw, settings| {
            settings.limit_request_body = match number(raw, 0, i64::MAX)? {
                0 => None,
                limit => Some(limit),
            };
            Ok(())
        },
        show: |settings| match settings.limit_request_body {
            Some(limit) => limit.to_string(),
            None => "0".into(),
        },
        help: "Largest request body in bytes; 0 is without limit. Not in gunicorn.",
        doc: "A larger body is refused with 413. Bodies are received whole, on disk if \
              they are large, before the application is called, so that a limit is needed where \
              gunicorn has none.",
    },
    Definition {
        name: "forwarded_allow_ips",
        section: Section::Security,
        flags: &["--forwarded-allow-ips"],
        takes: Takes::One("STRING"),
        environment: Some(Environment {
            variable: "FORWARDED_ALLOW_IPS",
            value: text,
            shown: "$FORWARDED_ALLOW_IPS",
        }),
        apply: |raw, settings| {
            settings.forwarded_allow_ips = forwarded::allow_ips(raw)?;
            Ok(())
        },
        show: |settings| settings.forwarded_allow_ips.to_string(),
        help: "Proxies whose word about the client's scheme counts: addresses, networks, *.",
        doc: "Between commas, or in a list. Only from these the fields of `secure_scheme_headers` decide `wsgi.url_scheme`; and only their field `SCRIPT_NAME` says where the application is mounted; a peer on a Unix socket always counts. `*` is everybody, and then a client can claim to have come by https.",
    },
    Definition {
        name: "secure_scheme_headers",
        section: Section::Security,
        flags: &[],
        takes: Takes::One("DICT"),
        environment: None,
        apply: |raw, settings| {
            settings.secure_scheme_headers = forwarded::scheme_headers(raw)?;
            Ok(())
        },
        show: |settings| forwarded::show_scheme_headers(&settings.secure_scheme_headers),
        help: "Fields by which a trusted proxy says that its client came by https.",
        doc: "A dict of names and the one value of each that says so. Another value says http, and fields that contradict each other are refused with 400.",
    },
    Definition {
        name: "chdir",
        section: Section::ServerMechanics,
        flags: &["--chdir"],
        takes: Takes::One("DIRECTORY"),
        environment: None,
        apply: |raw, settings| {
            const ALLOWED: &str = "a directory that exists";
            let directory = PathBuf::from(raw.text(ALLOWED)?);
            if !directory.is_dir() {
                return Err(Rejection::allowed(ALLOWED));
            }
            settings.chdir = directory;
            Ok(())
        },
        show: |settings| settings.chdir.display().to_string(),
        help: "Change to this directory before the application is loaded.",
        doc: "The directory is also put at the front of `sys.path`.",
    },
    Definition {
        name: "pythonpath",
        section: Section::ServerMechanics,
        flags: &["--pythonpath"],
        takes: Takes::One("DIRECTORIES"),
        environment: None,
        apply: |raw, settings| {
            settings.pythonpath = match raw {
                Raw::None => Vec::new(),
                raw => raw
                    .word("directories between commas")?
                    .split(',')
                    .map(|directory| directory.trim().into())
                    .collect(),
            };
            Ok(())
        },
        show: |settings| {
            let directories = &settings.pythonpath;
            let joined = directories.join(OsStr::new(","));
            optional((!directories.is_empty()).then(|| joined.to_string_lossy()))
        },
        help: "Directories for sys.path, between commas.",
        doc: "Each is put at the front of `sys.path`, so that the last one comes first.",
    },
    Definition {
        name: "preload_app",
        section: Section::ServerMechanics,
        flags: &["--preload"],
        takes: Takes::Nothing,
        environment: None,
        apply: |raw, settings| {
            settings.preload_app = raw.switch()?;
            Ok(())
        },
        show: |settings| switch(settings.preload_app),
        help: "Load the application before the workers are forked.",
        doc: "Workers share its memory and start at once; connections and threads must not be made at import. An exception ends the start. SIGHUP replaces the workers but does not load the application anew: restart for that. Whether to preload is decided at the start.",
    },
    Definition {
        name: "raw_env",
        section: Section::ServerMechanics,
        flags: &["-e", "--env"],
        takes: Takes::Many("ENV"),
        environment: None,
        apply: |raw, settings| {
            settings.raw_env = environment(raw)?;
            Ok(())
        },
        show: |settings| {
            let join = |(name, value): &(OsString, OsString)| {
                format!("{}={}", name.to_string_lossy(), value.to_string_lossy())
            };
            list(&settings.raw_env.iter().map(join).collect::<Vec<_>>())
        },
        help: "Set an environment variable, NAME=VALUE. May be repeated.",
        doc: "For the application: the variables are set before it is loaded, in `os.environ` and in the process. `SCRIPT_NAME`, from here or from the environment of the start, is the path below which the application is mounted, such as `/shop`.",
    },
    Definition {
        name: "daemon",
        section: Section::ServerMechanics,
        flags: &["-D", "--daemon"],
        takes: Takes::Nothing,
        environment: None,
        apply: |raw, settings| {
            settings.daemon = raw.switch()?;
            Ok(())
        },
        show: |settings| switch(settings.daemon),
        help: "Go to the background.",
        doc: "The command ends at once, and the arbiter runs without a terminal, with the umask 022. What it has to say goes nowhere without `errorlog`. SIGWINCH then makes all workers finish, and SIGHUP brings them back. Service managers and containers want the foreground.",
    },
    Definition {
        name: "enable_stdio_inheritance",
        section: Section::ServerMechanics,
        flags: &["-R", "--enable-stdio-inheritance"],
        takes: Takes::Nothing,
        environment: None,
        apply: |raw, settings| {
            settings.enable_stdio_inheritance = raw.switch()?;
            Ok(())
        },
        show: |settings| switch(settings.enable_stdio_inheritance),
        help: "In the background, keep standard output and standard error.",
        doc: "Unless they are a terminal. Without, `daemon` sends them to `/dev/null`.",
    },
    Definition {
        name: "pidfile",
        section: Section::ServerMechanics,
        flags: &["-p", "--pid"],
        takes: Takes::One("FILE"),
        environment: None,
        apply: |raw, settings| {
            settings.pidfile = path(raw, "a path, or None")?;
            Ok(())
        },
        show: |settings| optional(settings.pidfile.as_ref().map(|path| path.display())),
        help: "Write the arbiter's pid to this file.",
        doc: "Nothing starts while another process lives whose pid is in the file. The file is removed at the end, unless another process has written its own pid. A path is relative to `chdir`.",
    },
    Definition {
        name: "user",
        section: Section::ServerMechanics,
        flags: &["-u", "--user"],
        takes: Takes::One("USER"),
        environment: None,
        apply: |raw, settings| {
            settings.user = account(raw, "a user's name or number, or None")?;
            Ok(())
        },
        show: |settings| optional(settings.user.map(User::uid)),
        help: "Workers run as this user, by name or number.",
        doc: "The arbiter stays as it was launched. Unix sockets and log files are given to the user. None: as launched.",
    },
    Definition {
        name: "group",
        section: Section::ServerMechanics,
        flags: &["-g", "--group"],
        takes: Takes::One("GROUP"),
        environment: None,
        apply: |raw, settings| {
            settings.group = account(raw, "a group's name or number, or None")?;
            Ok(())
        },
        show: |settings| optional(settings.group.map(Group::gid)),
        help: "Workers run as this group, by name or number.",
        doc: "Unix sockets and log files are given to the group. None: as launched.",
    },
    Definition {
        name: "initgroups",
        section: Section::ServerMechanics,
        flags: &["--initgroups"],
        takes: Takes::Nothing,
        environment: None,
        apply: |raw, settings| {
            settings.initgroups = raw.switch()?;
            Ok(())
        },
        show: |settings| switch(settings.initgroups),
        help: "Workers join all groups of their user.",
        doc: "Without, they keep the further groups of the arbiter.",
    },
    Definition {
        name: "umask",
        section: Section::ServerMechanics,
        flags: &["-m", "--umask"],
        takes: Takes::One("INT"),
        environment: None,
        apply: |raw, settings| {
            settings.umask = umask(raw)?;
            Ok(())
        },
        show: |settings| settings.umask.to_string(),
        help: "Permissions that Unix sockets do not give, as a file mode.",
        doc: "A number that begins with 0 is octal, `0x` works too. 0 lets everybody connect.",
    },
    Definition {
        name: "proc_name",
        section: Section::ServerMechanics,
        flags: &["-n", "--name"],
        takes: Takes::One("STRING"),
        environment: None,
        apply: |raw, settings| {
            settings.proc_name = name(raw)?;
            Ok(())
        },
        show: |settings| optional(settings.proc_name.as_ref()),
        help: "Name of the processes, as ps shows them. The application if not given.",
        doc: "`rgunicorn: master [NAME]` and `rgunicorn: worker [NAME]`. The title takes the place of the command line, and is cut to its length.",
    },
    Definition {
        name: "default_proc_name",
        section: Section::ServerMechanics,
        flags: &[],
        takes: Takes::One("STRING"),
        environment: None,
        apply: |raw, settings| {
            settings.default_proc_name = name(raw)?;
            Ok(())
        },
        show: |settings| optional(settings.default_proc_name.as_ref()),
        help: "Name of the processes if `proc_name` gives none.",
        doc: "gunicorn's internal setting, for config files that several applications share. The application if not given.",
    },
    Definition {
        name: "accesslog",
        section: Section::Logging,
        flags: &["--access-logfile"],
        takes: Takes::One("FILE"),
        environment: None,
        apply: |raw, settings| {
            settings.accesslog = match raw {
                Raw::None => None,
                raw => Some(log_target(raw, "a path, '-' for standard output, or None")?),
            };
            Ok(())
        },
        show: |settings| optional(settings.accesslog.as_ref()),
        help: "Write an access log to this file; - is standard output.",
        doc: "One line for each request, as `access_log_format` says. SIGUSR1 reopens the file.",
    },
    Definition {
        name: "access_log_format",
        section: Section::Logging,
        flags: &["--access-logformat"],
        takes: Takes::One("STRING"),
        environment: None,
        apply: |raw, settings| {
            settings.access_log_format = access_format(raw)?;
            Ok(())
        },
        show: |settings| settings.access_log_format.to_string(),
        help: "Format of the access log's lines, made of atoms such as %(h)s.",
        doc: "Atoms: `h` client address, `u` user of basic authentication, `t` time, `r` request line, `s` status, `m` method, `U` path (with `SCRIPT_NAME`, which gunicorn leaves out), `q` query, `H` protocol, `b` and `B` bytes of the response's body, `f` referer, `a` user agent, `T` duration in seconds, `M` in milliseconds, `D` in microseconds, `L` in decimal seconds, `p` pid, `{name}i` field of the request, `{name}o` field of the response, `{name}e` variable of the WSGI environ. What is missing is a dash, and so is an atom that does not exist. Variables of the environ have the values that the application left there, as `str()` shows them, and case does not matter. Python's flags, widths and precisions work, as in `%(h)-15s`, `%(U).20s` and, for the numbers `B`, `D`, `M` and `T`, `%(D)8d`. Quotation marks and backslashes get a backslash, and whatever is not printable ASCII is written as `\\xNN`, `\\uNNNN` or `\\UNNNNNNNN`, so that no value leaves its field.",
    },
    Definition {
        name: "errorlog",
        section: Section::Logging,
        flags: &["--error-logfile", "--log-file"],
        takes: Takes::One("FILE"),
        environment: None,
        apply: |raw, settings| {
            settings.errorlog = log_target(raw, "a path, or '-' for standard error")?;
            Ok(())
        },
        show: |settings| settings.errorlog.to_string(),
        help: "Write the error log to this file; - is standard error.",
        doc: "What the server has to say, and what applications write to `wsgi.errors`. SIGUSR1 \
              reopens the file.",
    },
    Definition {
        name: "capture_output",
        section: Section::Logging,
        flags: &["--capture-output"],
        takes: Takes::Nothing,
        environment: None,
        apply: |raw, settings| {
            settings.capture_output = raw.switch()?;
            Ok(())
        },
        show: |settings| switch(settings.capture_output),
        help: "Send standard output and standard error to the error log.",
        doc: "If `errorlog` is a file: what applications print, and the programs that they start, goes there as it is. SIGUSR1 takes it along to the new file. PYTHONUNBUFFERED=1 brings it there at once.",
    },
    Definition {
        name: "loglevel",
        section: Section::Logging,
        flags: &["--log-level"],
        takes: Takes::One("LEVEL"),
        environment: None,
        apply: |raw, settings| {
            settings.loglevel = log_level(raw)?;
            Ok(())
        },
        show: |settings| settings.loglevel.to_string(),
        help: "Least severe messages to log: debug, info, warning, error or critical.",
        doc: "gunicorn takes an unknown level for `info`; here it is an error.",
    },
    Definition {
        name: "check_config",
        section: Section::Debugging,
        flags: &["--check-config"],
        takes: Takes::Nothing,
        environment: None,
        apply: |raw, settings| {
            settings.check_config = raw.switch()?;
            Ok(())
        },
        show: |settings| switch(settings.check_config),
        help: "Load configuration and application, then exit.",
        doc: "The status is 0 if both are in order, otherwise 1, and the reason is on standard \
              error.",
    },
    Definition {
        name: "print_config",
        section: Section::Debugging,
        flags: &["--print-config"],
        takes: Takes::Nothing,
        environment: None,
        apply: |raw, settings| {
            settings.print_config = raw.switch()?;
            Ok(())
        },
        show: |settings| switch(settings.print_config),
        help: "Print the configuration, then do as --check-config.",
        doc: "One line for each setting, `name = value`, in alphabetical order. A setting that is refused does not appear.",
    },
];
