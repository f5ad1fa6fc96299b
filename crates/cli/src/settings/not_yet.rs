//! What gunicorn 27 knows and this server does not: refused by name, never ignored. What it does not
//! need is taken.

use super::{Needless, NotYet, Takes};

/// gunicorn's other settings, in alphabetical order.
pub static NOT_YET: &[NotYet] = &[
    row(
        "asgi_disconnect_grace_period",
        &["--asgi-disconnect-grace-period"],
        Takes::One("INT"),
        "3",
    ),
    row("asgi_lifespan", &["--asgi-lifespan"], Takes::One("STRING"), "'auto'"),
    row("asgi_loop", &["--asgi-loop"], Takes::One("STRING"), "'auto'"),
    row("ca_certs", &["--ca-certs"], Takes::One("FILE"), "None"),
    row("casefold_http_method", &["--casefold-http-method"], Takes::Nothing, "False"),
    row("cert_reqs", &["--cert-reqs"], Takes::One("STRING"), "0"),
    row("certfile", &["--certfile"], Takes::One("FILE"), "None"),
    row("ciphers", &["--ciphers"], Takes::One("STRING"), "None"),
    row("control_socket", &["--control-socket"], Takes::One("PATH"), "None"),
    row("control_socket_mode", &["--control-socket-mode"], Takes::One("INT"), "384"),
    row("dirty_apps", &["--dirty-app"], Takes::Many("STRING"), "[]"),
    row("dirty_graceful_timeout", &["--dirty-graceful-timeout"], Takes::One("INT"), "30"),
    row("dirty_threads", &["--dirty-threads"], Takes::One("INT"), "1"),
    row("dirty_timeout", &["--dirty-timeout"], Takes::One("INT"), "300"),
    row("dirty_workers", &["--dirty-workers"], Takes::One("INT"), "0"),
    row(
        "disable_redirect_access_to_syslog",
        &["--disable-redirect-access-to-syslog"],
        Takes::Nothing,
        "False",
    ),
    row("do_handshake_on_connect", &["--do-handshake-on-connect"], Takes::Nothing, "False"),
    row("dogstatsd_tags", &["--dogstatsd-tags"], Takes::One("DOGSTATSD_TAGS"), "''"),
    row("enable_backlog_metric", &["--enable-backlog-metric"], Takes::Nothing, "False"),
    row(
        "forwarder_headers",
        &["--forwarder-headers"],
        Takes::One("STRING"),
        "'SCRIPT_NAME,PATH_INFO'",
    ),
    row("header_map", &["--header-map"], Takes::One("STRING"), "'drop'"),
    row("http2_cleartext", &["--http2-cleartext"], Takes::One("STRING"), "'off'"),
    row("http2_initial_window_size", &["--http2-initial-window-size"], Takes::One("INT"), "65535"),
    row(
        "http2_max_concurrent_streams",
        &["--http2-max-concurrent-streams"],
        Takes::One("INT"),
        "100",
    ),
    row("http2_max_frame_size", &["--http2-max-frame-size"], Takes::One("INT"), "16384"),
    row(
        "http2_max_header_list_size",
        &["--http2-max-header-list-size"],
        Takes::One("INT"),
        "65536",
    ),
    row("http_protocols", &["--http-protocols"], Takes::One("STRING"), "'h1'"),
    row("keyfile", &["--keyfile"], Takes::One("FILE"), "None"),
    row("logconfig", &["--log-config"], Takes::One("FILE"), "None"),
    row("logconfig_dict", &[], Takes::One("STRING"), "{}"),
    row("logconfig_json", &["--log-config-json"], Takes::One("FILE"), "None"),
    row("logger_class", &["--logger-class"], Takes::One("STRING"), "'gunicorn.glogging.Logger'"),
    row("paste", &["--paste", "--paster"], Takes::One("STRING"), "None"),
    row("permit_obsolete_folding", &["--permit-obsolete-folding"], Takes::Nothing, "False"),
    row(
        "permit_unconventional_http_method",
        &["--permit-unconventional-http-method"],
        Takes::Nothing,
        "False",
    ),
    row(
        "permit_unconventional_http_version",
        &["--permit-unconventional-http-version"],
        Takes::Nothing,
        "False",
    ),
    row("protocol", &["--protocol"], Takes::One("STRING"), "'http'"),
    row("proxy_allow_ips", &["--proxy-allow-from"], Takes::One("STRING"), "'127.0.0.1,::1'"),
    row("proxy_protocol", &["--proxy-protocol"], Takes::Maybe, "'off'").or("False"),
    row("raw_paste_global_conf", &["--paste-global"], Takes::Many("CONF"), "[]"),
    row("reload", &["--reload"], Takes::Nothing, "False"),
    row("reload_engine", &["--reload-engine"], Takes::One("STRING"), "'auto'"),
    row("reload_extra_files", &["--reload-extra-file"], Takes::Many("FILES"), "[]"),
    row("root_path", &["--root-path"], Takes::One("STRING"), "''"),
    row("sendfile", &["--no-sendfile"], Takes::Nothing, "None").or("True"),
    row("spew", &["--spew"], Takes::Nothing, "False"),
    row("ssl_version", &["--ssl-version"], Takes::One("STRING"), "2"),
    row("statsd_host", &["--statsd-host"], Takes::One("STATSD_ADDR"), "None"),
    row("statsd_prefix", &["--statsd-prefix"], Takes::One("STATSD_PREFIX"), "''"),
    row("strip_header_spaces", &["--strip-header-spaces"], Takes::Nothing, "False"),
    row("suppress_ragged_eofs", &["--suppress-ragged-eofs"], Takes::Nothing, "True"),
    row("syslog", &["--log-syslog"], Takes::Nothing, "False"),
    row("syslog_addr", &["--log-syslog-to"], Takes::One("SYSLOG_ADDR"), "'udp://localhost:514'"),
    row("syslog_facility", &["--log-syslog-facility"], Takes::One("SYSLOG_FACILITY"), "'user'"),
    row("syslog_prefix", &["--log-syslog-prefix"], Takes::One("SYSLOG_PREFIX"), "None"),
    row("tmp_upload_dir", &[], Takes::One("DIR"), "None"),
    row("uwsgi_allow_ips", &["--uwsgi-allow-from"], Takes::One("STRING"), "'127.0.0.1,::1'"),
    row(
        "websocket_max_message_size",
        &["--websocket-max-message-size"],
        Takes::One("INT"),
        "16777216",
    ),
];

/// gunicorn's settings that nothing is to be done for.
pub static NEEDLESS: &[Needless] = &[
    Needless {
        name: "control_socket_disable",
        flags: &["--no-control-socket"],
        takes: Takes::Nothing,
        reason: "there is no control socket",
    },
    Needless {
        name: "http_parser",
        flags: &["--http-parser"],
        takes: Takes::One("STRING"),
        reason: "there is one parser, and it is fast",
    },
    Needless {
        name: "worker_tmp_dir",
        flags: &["--worker-tmp-dir"],
        takes: Takes::One("DIR"),
        reason: "workers show that they live in memory, and never wait for a disk",
    },
];

/// gunicorn's hooks: functions of a config file.
pub static HOOKS: &[&str] = &[
    "child_exit",
    "dirty_post_fork",
    "dirty_worker_exit",
    "dirty_worker_init",
    "nworkers_changed",
    "on_dirty_starting",
    "on_exit",
    "on_reload",
    "on_starting",
    "post_fork",
    "post_request",
    "post_worker_init",
    "pre_exec",
    "pre_fork",
    "pre_request",
    "ssl_context",
    "when_ready",
    "worker_abort",
    "worker_exit",
    "worker_int",
];

/// A row of the table; `default` is a Python literal.
const fn row(
    name: &'static str,
    flags: &'static [&'static str],
    takes: Takes,
    default: &'static str,
) -> NotYet {
    NotYet { name, flags, takes, default, synonym: None }
}

impl NotYet {
    /// The same with another Python literal that comes to the same as the default.
    const fn or(self, synonym: &'static str) -> Self {
        Self { synonym: Some(synonym), ..self }
    }
}
