//! Test binaries, examples and the server find the libpython that they were built for.

fn main() {
    println!("cargo:rerun-if-env-changed=PYO3_BUILD_EXTENSION_MODULE");
    if std::env::var_os("PYO3_BUILD_EXTENSION_MODULE").is_none() {
        pyo3_build_config::add_libpython_rpath_link_args();
        // The binary's last resort when it looks for an interpreter.
        if let Some(python) = pyo3_build_config::get().executable() {
            println!("cargo:rustc-env=RGUNICORN_BUILT_FOR={python}");
        }
    }
}
