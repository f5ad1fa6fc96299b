//! The reference page of the settings, `SETTINGS.md`.

use super::help::spelling;
use super::{NEEDLESS, NOT_YET, SETTINGS, Section, Settings};

/// The reference page, in Markdown: every setting with its default and its whole story.
///
/// ```
/// assert!(rgunicorn::settings::reference().contains("### timeout"));
/// ```
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    let defaults = Settings::default();
    for section in Section::ALL {
        page.push_str("\n## ");
        page.push_str(&section.to_string());
        page.push('\n');
        for row in SETTINGS.iter().filter(|row| row.section == section) {
            let default = row.default(&defaults);
            for part in [
                "\n### ",
                row.name,
                "\n\n`",
                &spelling(row),
                "`, default: ",
                &default,
                "\n\n",
                row.help,
                "\n\n",
                row.doc,
                "\n",
            ] {
                page.push_str(part);
            }
        }
    }
    page.push_str(NOT_SUPPORTED);
    let names: Vec<_> = NOT_YET.iter().map(|row| format!("`{}`", row.name)).collect();
    page.push_str(&names.join(", "));
    page.push_str(".\n");
    page.push_str(NOTHING_TO_DO);
    for row in NEEDLESS {
        for part in ["- `", row.name, "`: ", row.reason, ".\n"] {
            page.push_str(part);
        }
    }
    page
}

const INTRODUCTION: &str = "\
# Settings

Names, defaults and rules are gunicorn's unless a setting says otherwise. Later sources win:
defaults, the environment (`PORT`, `WEB_CONCURRENCY`, `FORWARDED_ALLOW_IPS`), the config file,
`GUNICORN_CMD_ARGS`, the command line.

The environment variable `GUNICORN_CMD_ARGS` holds options as on the command line, split as a shell
splits words: quotation marks and backslashes work, and an unquoted word that begins with `#` starts
a comment. An application in it is ignored.

<!-- Written from the table in src/settings/table.rs; a test compares them. -->
";

const NOT_SUPPORTED: &str = "
## Not supported yet

These settings of gunicorn's are refused by name, on the command line and in a config file, unless
the file gives just gunicorn's default, or what comes to the same. Hooks are refused whatever they do.

";

const NOTHING_TO_DO: &str = "
## Taken, and nothing to be done

These settings of gunicorn's ask for what is the case anyway:

";

#[cfg(test)]
mod tests {
    /// `BLESS=1` writes the page anew.
    #[test]
    fn the_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/SETTINGS.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, super::reference()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), super::reference());
    }
}
