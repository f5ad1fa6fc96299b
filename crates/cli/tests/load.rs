//! From the command line to settings, through the public door.
#![expect(clippy::panic, clippy::unwrap_used, reason = "this is how a test fails")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use rgunicorn::load::{Command, Failure, Launch, Loaded, load};
use rgunicorn::settings::ConfigLocation;

fn launched(directory: &Path, line: &[&str]) -> Launch {
    std::env::set_current_dir(directory).unwrap();
    let line = std::iter::once("rgunicorn").chain(line.iter().copied());
    Launch::new(line.map(OsString::from).collect()).unwrap()
}

fn serve(launch: &Launch) -> Result<Loaded, Failure> {
    match load(launch)? {
        Command::Serve(loaded) => Ok(*loaded),
        Command::Print(text) => panic!("prints {text}"),
    }
}

/// One test, because all of its steps depend on the process's current directory.
#[test]
fn the_way_from_arguments_to_settings() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().canonicalize().unwrap();
    fs::create_dir(root.join("app")).unwrap();

    // Help and version touch nothing.
    for (flag, start) in [("--help", "usage: rgunicorn"), ("-v", "rgunicorn (version ")] {
        let Ok(Command::Print(text)) = load(&launched(&root, &[flag])) else {
            panic!("{flag} prints nothing");
        };
        assert!(text.starts_with(start), "{text}");
    }

    // Wrong lines, with the whole of what is printed. No Python is started for any of them.
    let cases: [(&[&str], &str, u8); 5] = [
        (&[], "\nError: No application module specified.", 1),
        (
            &["a:b", "-w", "-1"],
            "\nError: invalid value for workers from -w: '-1' \
             (allowed: a whole number from 1 to 512)",
            1,
        ),
        (
            &["a:b", "--reload"],
            "\nError: --reload (reload) is a gunicorn setting that rgunicorn does not \
             support yet",
            1,
        ),
        (
            &["a:b", "--x"],
            "usage: rgunicorn [OPTIONS] [APP_MODULE]\n\
             rgunicorn: error: unrecognized arguments: --x",
            2,
        ),
        (
            &["a:b", "--workers", "4", "--chdir", "missing"],
            "\nError: invalid value for chdir from --chdir: 'missing' \
             (allowed: a directory that exists)",
            1,
        ),
    ];
    for (line, message, exit_code) in cases {
        let failure = serve(&launched(&root, line)).unwrap_err();
        assert_eq!((failure.message.as_str(), failure.exit_code), (message, exit_code));
    }
    let loaded = serve(&launched(&root, &["a:b", "--chdir", "app"])).unwrap();
    assert_eq!(loaded.settings.chdir, root.join("app"));
    assert_eq!(std::env::current_dir().unwrap(), root.join("app"));
    assert!(!rgunicorn::embed::is_initialized());

    // The default config file is the launch directory's, and its names can be imported there.
    fs::write(root.join("neighbour.py"), "count = 3\n").unwrap();
    let config = root.join("gunicorn.conf.py");
    fs::write(
        &config,
        "from neighbour import count as workers\nwsgi_app = 'shop:app'\nchdir = 'app'\ntimeout = 5\n",
    )
    .unwrap();
    let launch = launched(&root, &["--timeout", "9"]);
    for _ in 0..2 {
        let settings = serve(&launch).unwrap().settings;
        assert_eq!(settings.workers, 3);
        assert_eq!(settings.wsgi_app, "shop:app");
        assert_eq!(settings.timeout, Some(std::time::Duration::from_secs(9)));
        assert_eq!(settings.chdir, root.join("app"));
        assert_eq!(std::env::current_dir().unwrap(), root.join("app"));
    }

    // A reload that fails leaves the process where it was.
    fs::write(&config, "workers = 0\n").unwrap();
    let failure = serve(&launch).unwrap_err();
    let path = config.display();
    assert_eq!(
        failure.message,
        format!(
            "\nError: invalid value for workers from {path}: 0 \
             (allowed: a whole number from 1 to 512)"
        )
    );
    assert_eq!(std::env::current_dir().unwrap(), root.join("app"));
    fs::write(&config, "import nothing_of_this_name\n").unwrap();
    let failure = serve(&launch).unwrap_err();
    let start = format!("Failed to read config file: {path}\nTraceback (most recent call last)");
    assert!(failure.message.starts_with(&start), "{failure}");

    // A named file replaces the default one; a strange name is worth a warning.
    fs::write(root.join("other.conf"), "workers = 7\n").unwrap();
    let loaded = serve(&launched(&root, &["a:b", "-c", "other.conf"])).unwrap();
    assert_eq!(loaded.settings.workers, 7);
    let location = ConfigLocation::File("other.conf".into());
    assert_eq!(loaded.settings.config, Some(location));
    assert_eq!(
        loaded.warnings,
        [format!(
            "the config file '{}' is executed as Python, but is not called .py",
            root.join("other.conf").display()
        )]
    );
    let failure = serve(&launched(&root, &["a:b", "-c", "none.py"])).unwrap_err();
    let missing = root.join("none.py");
    assert_eq!(failure.message, format!("\nError: '{}' doesn't exist", missing.display()));
}
