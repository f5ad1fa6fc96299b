//! Every row of the tables, by flag, by file value, and by the full text of its errors.

use std::path::Path;

use super::*;

fn file(name: &'static str, value: Raw) -> Layer {
    let mut layer = Layer::default();
    layer.set(name, value, Origin::ConfigFile("/srv/gunicorn.conf.py".into()));
    layer
}

fn text(text: &str) -> Raw {
    Raw::Text(text.into())
}

/// What a setting becomes, as `Debug` shows it.
fn applied(name: &'static str, value: Raw) -> Result<Settings, String> {
    let mut settings = Settings::default();
    settings.apply(&file(name, value)).map_err(|error| error.to_string())?;
    Ok(settings)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a line for each case")]
fn values_that_are_right() {
    let mut cases: Vec<Right> = vec![
        ("accesslog", text("-"), |s| s.accesslog == Some(LogTarget::Standard)),
        ("accesslog", text("a.log"), |s| s.accesslog == Some(LogTarget::File("a.log".into()))),
        ("accesslog", Raw::None, |s| s.accesslog.is_none()),
        ("backlog", text("64"), |s| s.backlog == 64),
        ("bind", text("127.0.0.1:9000"), |s| bind(s) == ["127.0.0.1:9000"]),
        ("bind", text("a:1,[::1]:2, unix:/s"), |s| bind(s) == ["a:1", "[::1]:2", "unix:/s"]),
        ("bind", Raw::List(vec![text("a:1"), text("b:2")]), |s| bind(s) == ["a:1", "b:2"]),
        ("bind", text(""), |s| bind(s) == ["0.0.0.0:8000"]),
        ("bind", text("fd://3,unix:@n"), |s| bind(s) == ["fd://3", "unix:@n"]),
        ("bind_mode", text("660"), |s| s.bind_mode == Some(0o660)),
        ("bind_mode", text("0o600"), |s| s.bind_mode == Some(0o600)),
        ("bind_mode", Raw::Int(0o777), |s| s.bind_mode == Some(0o777)),
        ("bind_mode", Raw::None, |s| s.bind_mode.is_none()),
        ("body_timeout", Raw::Int(5), |s| s.body_timeout == Duration::from_secs(5)),
        ("boot_timeout", Raw::Int(5), |s| s.boot_timeout == Some(Duration::from_secs(5))),
        ("boot_timeout", Raw::Int(0), |s| s.boot_timeout.is_none()),
        ("chdir", text("/"), |s| s.chdir == Path::new("/")),
        ("check_config", Raw::Bool(true), |s| s.check_config),
        ("check_config", text("TRUE"), |s| s.check_config),
        ("check_config", Raw::None, |s| !s.check_config),
        ("config", text("x.py"), |s| s.config == Some(ConfigLocation::File("x.py".into()))),
        ("config", text("file:x.py"), |s| s.config == Some(ConfigLocation::File("x.py".into()))),
        ("config", text("python:a.b"), |s| s.config == Some(ConfigLocation::Module("a.b".into()))),
        ("daemon", Raw::Bool(true), |s| s.daemon),
        ("capture_output", Raw::Bool(true), |s| s.capture_output),
        ("enable_stdio_inheritance", Raw::Bool(true), |s| s.enable_stdio_inheritance),
        ("errorlog", text("-"), |s| s.errorlog == LogTarget::Standard),
        ("errorlog", text("e"), |s| s.errorlog == LogTarget::File("e".into())),
        ("graceful_timeout", Raw::Int(7), |s| s.graceful_timeout == Duration::from_secs(7)),
        ("graceful_timeout", Raw::Int(0), |s| s.graceful_timeout == Duration::ZERO),
        ("header_timeout", text("5"), |s| s.header_timeout == Duration::from_secs(5)),
        ("keepalive", Raw::Int(5), |s| s.keepalive == Some(Duration::from_secs(5))),
        ("keepalive", Raw::Int(0), |s| s.keepalive.is_none()),
        ("limit_request_body", Raw::Int(9), |s| s.limit_request_body == Some(9)),
        ("limit_request_body", Raw::Int(0), |s| s.limit_request_body.is_none()),
        ("limit_request_field_size", Raw::Int(9), |s| s.limit_request_field_size == 9),
        ("limit_request_fields", Raw::Int(32_768), |s| s.limit_request_fields == 32_768),
        ("limit_request_line", Raw::Int(0), |s| s.limit_request_line == 0),
        ("loglevel", text("Debug"), |s| s.loglevel == LogLevel::Debug),
        ("loglevel", text("critical"), |s| s.loglevel == LogLevel::Critical),
        ("print_config", Raw::Bool(true), |s| s.print_config),
        ("pythonpath", text("a, b"), |s| s.pythonpath == ["a", "b"]),
        ("pythonpath", Raw::None, |s| s.pythonpath.is_empty()),
        ("timeout", text("0x10"), |s| s.timeout == Some(Duration::from_secs(16))),
        ("timeout", Raw::Int(0), |s| s.timeout.is_none()),
        ("threads", text("4"), |s| s.threads == 4),
        ("worker_class", text("sync"), |s| s.worker_class == WorkerClass::Sync),
        ("worker_class", text("gthread"), |s| s.worker_class == WorkerClass::Gthread),
        ("worker_connections", Raw::Int(50), |s| s.worker_connections == 50),
        ("group", text("root"), |s| s.group.map(Group::gid) == Some(0)),
        ("group", Raw::Int(12), |s| s.group.map(Group::gid) == Some(12)),
        ("initgroups", Raw::Bool(true), |s| s.initgroups),
        ("pidfile", text("/run/shop.pid"), |s| s.pidfile == Some("/run/shop.pid".into())),
        ("pidfile", Raw::None, |s| s.pidfile.is_none()),
        ("preload_app", Raw::Bool(true), |s| s.preload_app),
        ("raw_env", Raw::List(vec![text("A=b=c"), text("D=")]), |s| {
            s.raw_env == [("A".into(), "b=c".into()), ("D".into(), "".into())]
        }),
        ("raw_env", Raw::None, |s| s.raw_env.is_empty()),
        ("reuse_port", Raw::Bool(true), |s| s.reuse_port),
        ("umask", text("022"), |s| s.umask == 0o22),
        ("umask", text("0o22"), |s| s.umask == 0o22),
        ("umask", text("18"), |s| s.umask == 0o22),
        ("umask", text("0"), |s| s.umask == 0),
        ("umask", Raw::Int(0o777), |s| s.umask == 0o777),
        ("user", text("root"), |s| s.user.map(User::uid) == Some(0)),
        ("user", text("33"), |s| s.user.map(User::uid) == Some(33)),
        ("user", Raw::None, |s| s.user.is_none()),
        ("access_log_format", text("%(h)s"), |s| s.access_log_format.to_string() == "%(h)s"),
        ("max_requests", text("1000"), |s| s.max_requests == 1000),
        ("max_requests_jitter", Raw::Int(50), |s| s.max_requests_jitter == 50),
        ("forwarded_allow_ips", text("10.0.0.0/8,*"), |s| {
            s.forwarded_allow_ips.to_string() == "['10.0.0.0/8', '*']"
        }),
        ("forwarded_allow_ips", Raw::List(vec![text("::1")]), |s| {
            s.forwarded_allow_ips.to_string() == "['::1']"
        }),
        ("forwarded_allow_ips", text(""), |s| s.forwarded_allow_ips.to_string() == "[]"),
        ("proc_name", text("shop"), |s| s.proc_name.as_deref() == Some("shop")),
        ("proc_name", Raw::None, |s| s.proc_name.is_none()),
        ("default_proc_name", text("mall"), |s| s.default_proc_name.as_deref() == Some("mall")),
        ("secure_scheme_headers", Raw::Map(vec![(text("X-Tls"), text("on"))]), |s| {
            s.secure_scheme_headers == [("X-Tls".into(), "on".into())]
        }),
        ("queue_timeout", Raw::Int(5), |s| s.queue_timeout == Some(Duration::from_secs(5))),
        ("request_buffering", Raw::Bool(false), |s| !s.request_buffering),
        ("request_buffering", text("true"), |s| s.request_buffering),
        ("request_timeout", Raw::Int(5), |s| s.request_timeout == Some(Duration::from_secs(5))),
        ("request_timeout", Raw::Int(0), |s| s.request_timeout.is_none()),
        ("workers", Raw::Int(512), |s| s.workers == 512),
        ("workers", Raw::Bool(true), |s| s.workers == 1),
        ("write_timeout", Raw::Int(5), |s| s.write_timeout == Duration::from_secs(5)),
        ("wsgi_app", text(" a:b "), |s| s.wsgi_app == "a:b"),
    ];
    cases.extend(when_workers_are_replaced());
    let tested: std::collections::BTreeSet<_> = cases.iter().map(|(name, ..)| *name).collect();
    assert_eq!(tested.len(), SETTINGS.len(), "a case for each setting");
    for (name, value, check) in cases {
        let shown = value.to_string();
        let settings = applied(name, value).unwrap();
        assert!(check(&settings), "{name} = {shown}: {settings:?}");
    }
}

/// A setting, what it is set to, and what must come of it.
type Right = (&'static str, Raw, fn(&Settings) -> bool);

fn when_workers_are_replaced() -> Vec<Right> {
    vec![
        ("max_worker_lifetime", text("60"), |s| {
            s.max_worker_lifetime == Some(Duration::from_secs(60))
        }),
        ("max_worker_lifetime", Raw::Int(0), |s| s.max_worker_lifetime.is_none()),
        ("max_worker_lifetime_jitter", Raw::Int(9), |s| {
            s.max_worker_lifetime_jitter == Duration::from_secs(9)
        }),
        ("max_worker_memory", Raw::Int(1000), |s| s.max_worker_memory == Some(1000)),
        ("max_worker_memory", text("0"), |s| s.max_worker_memory.is_none()),
        ("max_worker_memory", text("2k"), |s| s.max_worker_memory == Some(2048)),
        ("max_worker_memory", text("500M"), |s| s.max_worker_memory == Some(500 << 20)),
        ("max_worker_memory", text("3G"), |s| s.max_worker_memory == Some(3 << 30)),
        ("max_worker_memory_kind", text("rss"), |s| s.max_worker_memory_kind == MemoryKind::Rss),
    ]
}

fn bind(settings: &Settings) -> Vec<String> {
    settings.bind.iter().map(ToString::to_string).collect()
}

#[test]
fn values_that_are_wrong() {
    let seconds = "a whole number from 0 to 2147483647";
    let forms = "one or more of HOST, HOST:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME, fd://N";
    let path = "a path, or '-' for standard error";
    let bytes = "bytes as a whole number, with K, M or G behind it if you like";
    let levels = "debug, info, warning, error or critical";
    let mut cases: Vec<Wrong> = vec![
        ("accesslog", Raw::Int(1), "1", "a path, '-' for standard output, or None"),
        ("backlog", Raw::Int(-1), "-1", seconds),
        ("bind", Raw::None, "None", forms),
        ("bind", text("a:1,"), "'a:1,'", forms),
        ("bind", Raw::List(vec![Raw::Int(80)]), "[80]", forms),
        ("bind_mode", text("rw"), "'rw'", "octal permission bits, 0 to 777"),
        ("bind_mode", text("1777"), "'1777'", "octal permission bits, 0 to 777"),
        ("bind_mode", Raw::Int(-1), "-1", "octal permission bits, 0 to 777"),
        ("boot_timeout", text("soon"), "'soon'", seconds),
        ("chdir", text("/no/such"), "'/no/such'", "a directory that exists"),
        ("check_config", text("yes"), "'yes'", "True or False"),
        ("config", text(""), "''", "PATH, file:PATH or python:MODULE"),
        ("daemon", text("on"), "'on'", "True or False"),
        ("capture_output", Raw::Int(1), "1", "True or False"),
        ("enable_stdio_inheritance", Raw::Int(7), "7", "True or False"),
        ("errorlog", Raw::None, "None", path),
        ("errorlog", text(""), "''", path),
        ("graceful_timeout", Raw::Int(-1), "-1", seconds),
        ("keepalive", Raw::None, "None", seconds),
        ("limit_request_body", text("1G"), "'1G'", "a whole number from 0 to 9223372036854775807"),
        ("limit_request_field_size", Raw::Other("1.5".into()), "1.5", seconds),
        ("limit_request_fields", Raw::Int(32_769), "32769", "a whole number from 0 to 32768"),
        ("limit_request_line", text("x"), "'x'", seconds),
        ("loglevel", text("loud"), "'loud'", levels),
        ("max_worker_lifetime", text("1h"), "'1h'", seconds),
        ("max_worker_lifetime_jitter", Raw::Int(-1), "-1", seconds),
        ("max_worker_memory", text("M"), "'M'", bytes),
        ("max_worker_memory", text("1T"), "'1T'", bytes),
        ("max_worker_memory", text("\u{e9}"), "'\u{e9}'", bytes),
        ("max_worker_memory", text("9999999999G"), "'9999999999G'", bytes),
        ("max_worker_memory", Raw::Int(-1), "-1", bytes),
        ("max_worker_memory_kind", text("uss"), "'uss'", "pss or rss"),
        ("print_config", Raw::Int(2), "2", "True or False"),
        ("pythonpath", Raw::Int(1), "1", "directories between commas"),
        ("timeout", Raw::Int(1 << 31), "2147483648", seconds),
        ("threads", Raw::Int(0), "0", "a whole number from 1 to 1000"),
        ("worker_class", text("threads"), "'threads'", "sync or gthread"),
        ("worker_connections", Raw::Int(0), "0", "a whole number from 1 to 2147483647"),
        (
            "group",
            text("no such"),
            "'no such'",
            "a group's name or number, or None; No such group: 'no such'",
        ),
        ("initgroups", text("1"), "'1'", "True or False"),
        ("pidfile", text(""), "''", "a path, or None"),
        ("preload_app", Raw::Int(1), "1", "True or False"),
        ("raw_env", text("A"), "'A'", "one or more of NAME=VALUE"),
        ("raw_env", Raw::List(vec![text("=b")]), "['=b']", "one or more of NAME=VALUE"),
        ("reuse_port", text("1"), "'1'", "True or False"),
        ("umask", text("01000"), "'01000'", "permission bits, 0 to 0o777"),
        ("umask", Raw::Int(-1), "-1", "permission bits, 0 to 0o777"),
        ("umask", text("09"), "'09'", "permission bits, 0 to 0o777"),
        ("user", Raw::Int(-1), "-1", "a user's name or number, or None; No such user: '-1'"),
        (
            "access_log_format",
            text("%h"),
            "'%h'",
            "text with atoms such as %(h)s; '%h' is no atom such as %(h)s",
        ),
        ("max_requests", Raw::Int(-1), "-1", seconds),
        ("max_requests_jitter", text("x"), "'x'", seconds),
        (
            "forwarded_allow_ips",
            text("10.0.0.1/8"),
            "'10.0.0.1/8'",
            "IP addresses and networks between commas, or *; \"10.0.0.1/8\" has host bits set: \
             the network is \"10.0.0.0/8\"",
        ),
        ("proc_name", text("a\nb"), r"'a\nb'", "a name, or None"),
        ("default_proc_name", Raw::Int(3), "3", "a name, or None"),
        (
            "secure_scheme_headers",
            Raw::Map(vec![(text("X-Tls"), Raw::Int(1))]),
            "{'X-Tls': 1}",
            "a dict of names and values, such as {'X-FORWARDED-PROTO': 'https'}",
        ),
        ("workers", Raw::Int(0), "0", "a whole number from 1 to 512"),
        ("workers", text("many"), "'many'", "a whole number from 1 to 512"),
        ("wsgi_app", text(" "), "' '", "module:attribute, such as 'shop.wsgi:application'"),
    ];
    cases.extend(limits_of_requests());
    let tested: std::collections::BTreeSet<_> = cases.iter().map(|(name, ..)| *name).collect();
    assert_eq!(tested.len(), SETTINGS.len(), "a case for each setting");
    for (name, value, shown, allowed) in cases {
        let message = format!(
            "invalid value for {name} from /srv/gunicorn.conf.py: {shown} (allowed: {allowed})"
        );
        assert_eq!(applied(name, value).unwrap_err(), message);
    }
    let port = applied("bind", text("a:b")).unwrap_err();
    assert!(port.contains("'a:b' (allowed: ") && port.contains("no valid port"), "{port}");
}

/// A setting, what it is set to, how that is shown, and what would be right.
type Wrong = (&'static str, Raw, &'static str, &'static str);

fn limits_of_requests() -> Vec<Wrong> {
    let seconds = "a whole number from 0 to 2147483647";
    let limit = "a whole number from 1 to 2147483647";
    vec![
        ("body_timeout", Raw::Int(0), "0", limit),
        ("header_timeout", Raw::Int(0), "0", limit),
        ("queue_timeout", text("0.5"), "'0.5'", seconds),
        ("request_buffering", Raw::Int(0), "0", "True or False"),
        ("request_timeout", text("1m"), "'1m'", seconds),
        ("write_timeout", text("0"), "'0'", limit),
    ]
}

#[test]
fn sync_with_threads_is_gthread() {
    let mut layer = Layer::default();
    layer.set("threads", Raw::Int(2), Origin::CommandLine("--threads"));
    layer.set("wsgi_app", text("app"), Origin::CommandLine("APP"));
    assert_eq!(Settings::resolve(&[layer]).unwrap().worker_class, WorkerClass::Gthread);
}

#[test]
fn other_kinds_of_workers_are_refused_by_name() {
    for class in ["gevent", "eventlet", "tornado", "asgi", "a.b.Worker", "egg:a#b"] {
        let message = applied("worker_class", text(class)).unwrap_err();
        let expected = format!(
            "worker_class '{class}' from /srv/gunicorn.conf.py is not supported yet; use sync or gthread"
        );
        assert_eq!(message, expected);
    }
}

#[test]
fn other_settings_of_gunicorns_are_refused_by_name() {
    for row in NOT_YET {
        let message = applied(row.name, Raw::None).unwrap_err();
        let expected = format!(
            "{} in /srv/gunicorn.conf.py is a gunicorn setting that rgunicorn does not support yet",
            row.name
        );
        assert_eq!(message, expected);
        for flag in row.flags {
            let mut line = vec![(*flag).into()];
            if !matches!(row.takes, Takes::Nothing) {
                line.push("1".into());
            }
            let crate::args::Invocation::Serve(layer) = crate::args::parse(&line).unwrap() else {
                panic!("{flag} is no setting");
            };
            let message = Settings::resolve(&[layer]).unwrap_err().to_string();
            let expected = format!(
                "{flag} ({}) is a gunicorn setting that rgunicorn does not support yet",
                row.name
            );
            // The origin is the spelling that was used.
            assert_eq!(message, expected);
        }
    }
}

#[test]
fn later_layers_win_and_all_are_judged() {
    let app = file("wsgi_app", text("a:b"));
    let low = file("bind", Raw::List(vec![text("a:1"), text("b:2")]));
    let high = file("bind", text("c:3"));
    let settings = Settings::resolve(&[app.clone(), low, high.clone()]).unwrap();
    assert_eq!(bind(&settings), ["c:3"]);
    let wrong = file("bind", text("x:y"));
    assert!(Settings::resolve(&[app, wrong, high]).is_err());
    assert_eq!(Settings::resolve(&[]), Err(SettingError::NoApplication));
}

#[test]
fn the_environment_gives_defaults() {
    let environment = |variable: &str| match variable {
        "WEB_CONCURRENCY" => Some("3".into()),
        "PORT" => Some("5000".into()),
        _ => None,
    };
    let layer = Layer::from_environment(environment);
    let settings = Settings::resolve(&[layer, file("wsgi_app", text("a"))]).unwrap();
    assert_eq!(settings.workers, 3);
    assert_eq!(bind(&settings), ["0.0.0.0:5000"]);
    let wrong =
        Layer::from_environment(|variable| (variable == "WEB_CONCURRENCY").then(|| "lots".into()));
    assert_eq!(
        Settings::resolve(&[wrong]).unwrap_err().to_string(),
        "invalid value for workers from the environment variable WEB_CONCURRENCY: 'lots' \
         (allowed: a whole number from 1 to 512)"
    );
    let empty = Layer::from_environment(|_| Some("".into()));
    assert_eq!(empty, Layer::default());
}

#[test]
fn help_knows_every_flag_and_fits_a_terminal() {
    let page = help();
    for flag in SETTINGS.iter().flat_map(|row| row.flags) {
        assert!(page.contains(flag), "{flag} is missing");
    }
    for line in page.lines() {
        assert!(line.chars().count() <= 80, "{line:?} is too wide");
        assert_eq!(line.trim_end(), line);
    }
    for words in
        ["usage: rgunicorn [OPTIONS] [APP_MODULE]", "[['127.0.0.1:8000'], or 0.0.0.0:$PORT]"]
    {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn no_setting_stands_in_two_tables() {
    let names = SETTINGS.iter().map(|row| row.name);
    let names = names.chain(NOT_YET.iter().map(|row| row.name));
    let names = names.chain(NEEDLESS.iter().map(|row| row.name)).chain(HOOKS.iter().copied());
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        assert!(seen.insert(name), "{name} twice");
    }
    // gunicorn 27.0.1 has 120 settings, of which 20 are hooks; these are not gunicorn's.
    let ours = [
        "bind_mode",
        "body_timeout",
        "boot_timeout",
        "header_timeout",
        "limit_request_body",
        "max_worker_lifetime",
        "max_worker_lifetime_jitter",
        "max_worker_memory",
        "max_worker_memory_kind",
        "queue_timeout",
        "request_buffering",
        "request_timeout",
        "write_timeout",
    ];
    assert!(ours.iter().all(|name| seen.contains(name)));
    assert_eq!(seen.len(), GUNICORN_SETTINGS + ours.len());
}

const GUNICORN_SETTINGS: usize = 120;

#[test]
fn the_listing_is_gunicorns() {
    let settings = Settings {
        bind: vec!["127.0.0.1:9000".parse().unwrap(), "unix:/run/shop".parse().unwrap()],
        pythonpath: vec!["lib".into(), "/opt".into()],
        keepalive: None,
        accesslog: Some(LogTarget::Standard),
        ..Settings::default()
    };
    let page = listing(&settings);
    let lines: Vec<_> = page.lines().collect();
    for expected in [
        "accesslog                = -",
        "backlog                  = 2048",
        "bind                     = ['127.0.0.1:9000', 'unix:/run/shop']",
        "check_config             = False",
        "config                   = ./gunicorn.conf.py",
        "keepalive                = 0",
        "forwarded_allow_ips      = ['127.0.0.1', '::1']",
        "secure_scheme_headers    = {'X-FORWARDED-PROTOCOL': 'ssl', 'X-FORWARDED-PROTO': 'https', \
         'X-FORWARDED-SSL': 'on'}",
        "limit_request_field_size = 8190",
        "pythonpath               = lib,/opt",
        "wsgi_app                 = None",
    ] {
        assert!(lines.contains(&expected), "{expected} is not in\n{page}");
    }
    assert!(lines.is_sorted(), "{page}");
}
