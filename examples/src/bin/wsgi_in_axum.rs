//! A Django project inside an axum service: rgunicorn-wsgi under a server that is not rgunicorn.
//!
//! ```text
//! pip install django
//! cargo run -p rgunicorn-examples --bin wsgi_in_axum -- 127.0.0.1:7003 examples
//! ```
//!
//! It shows how an application moves to Rust page by page: `/legacy` and all below it are answered by
//! `examples/django_project`, which needs no change for that, and everything else by axum. Packages
//! come from the active virtual environment.

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use axum::routing::get;
use rgunicorn_examples::log_to_stderr;
use rgunicorn_wsgi::pyo3::prelude::*;
use rgunicorn_wsgi::pyo3::types::PySlice;
use rgunicorn_wsgi::{App, EnvironOptions, Transport, WsgiService};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    log_to_stderr();
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7003".to_owned());
    let directory = arguments.next().unwrap_or_else(|| "examples".to_owned());

    Python::initialize();
    let app = Python::attach(|py| load(py, directory.as_ref()))?;
    // How many threads call the application is tokio's `max_blocking_threads`.
    let spawn = |job| {
        spawn_blocking(job);
    };
    // axum takes the prefix off the path, Django needs it for its links.
    let legacy = WsgiService::new(app, spawn).mount("/legacy");
    let router = Router::new()
        .route("/", get(|| async { "Rust. Everything else is still at /legacy.\n" }))
        .nest_service("/legacy", legacy)
        .layer(map_request(tell_peer));

    let mut interrupts = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(&address).await?;
    log::info!("Listening at: http://{}", listener.local_addr()?);
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            interrupts.recv().await;
        })
        .await?;
    Ok(())
}

/// Imports the project from `directory`, and what it needs from the virtual environment.
fn load(py: Python<'_>, directory: &Path) -> Result<App, Box<dyn Error>> {
    let sys = py.import("sys")?;
    let paths = sys.getattr("path")?;
    // Django may look for its files after others have changed the working directory.
    paths.call_method1("insert", (0, std::path::absolute(directory)?.into_os_string()))?;
    if let Some(environment) = env::var_os("VIRTUAL_ENV") {
        let (major, minor): (u8, u8) =
            sys.getattr("version_info")?.get_item(PySlice::new(py, 0, 2, 1))?.extract()?;
        let packages =
            Path::new(&environment).join(format!("lib/python{major}.{minor}/site-packages"));
        if !packages.is_dir() {
            let message = format!(
                "VIRTUAL_ENV must be an environment of Python {major}.{minor}, but there is no {}",
                packages.display()
            );
            return Err(message.into());
        }
        py.import("site")?.call_method1("addsitedir", (packages.into_os_string(),))?;
    }
    Ok(App::load(py, &"django_project.wsgi".parse()?, EnvironOptions::default())?)
}

/// The library does not know axum, so what axum knows of the client is told to it.
async fn tell_peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(Transport::default().peer(peer));
    request
}
