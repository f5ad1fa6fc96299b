//! The text of `--help`.

use super::{Definition, SETTINGS, Section, Settings, Takes};

/// What `--help` prints: examples, then every option under its section, 80 columns wide.
///
/// ```
/// assert!(rgunicorn::settings::help().contains("--graceful-timeout SECONDS"));
/// ```
pub fn help() -> String {
    let mut page = INTRODUCTION.to_owned();
    let defaults = Settings::default();
    for section in Section::ALL {
        heading(&mut page, section);
        for row in SETTINGS.iter().filter(|row| row.section == section) {
            option(&mut page, row, &defaults);
        }
    }
    page.push_str(CLOSING);
    page
}

/// The line that argparse puts above errors.
pub(crate) const USAGE: &str = "usage: rgunicorn [OPTIONS] [APP_MODULE]\n";

const INTRODUCTION: &str = "\
usage: rgunicorn [OPTIONS] [APP_MODULE]

A pre-fork WSGI server with gunicorn's command line. APP_MODULE names the
application: MODULE:ATTRIBUTE, the attribute being 'application' by default.

Examples:
  rgunicorn shop.wsgi                          serve on http://127.0.0.1:8000
  rgunicorn -w 4 -b 0.0.0.0:80 shop:app        four workers, all interfaces
  rgunicorn -b unix:/run/shop.sock 'shop:create_app(\"live\")'
  rgunicorn -c /etc/shop.conf.py --check-config
";

const CLOSING: &str = "
Help:
  -h, --help
      Show this text.
  -v, --version
      Show the version.

Long options may be shortened as long as they stay unambiguous. In a config
file, a setting has the name of its long option, with underscores.
";

fn heading(page: &mut String, section: Section) {
    page.push('\n');
    page.push_str(&section.to_string());
    page.push_str(":\n");
}

fn option(page: &mut String, row: &Definition, defaults: &Settings) {
    page.push_str("  ");
    page.push_str(&spelling(row));
    page.push('\n');
    let mut text = format!("{} [{}]", row.help, row.default(defaults));
    // Where gunicorn's flag is not its setting's name, say both.
    let flag = row.name.replace('_', "-");
    if row.takes == Takes::Off {
        // The default is the setting's and not the flag's.
        text = format!("{} (in a config file: {} = False)", row.help, row.name);
    } else if !row.flags.is_empty() && !row.flags.iter().any(|f| f.trim_start_matches('-') == flag)
    {
        text = format!("{text} (in a config file: {})", row.name);
    }
    wrap(page, &text);
}

/// `-b, --bind ADDRESS`; a setting without a flag stands under its own name.
pub(super) fn spelling(row: &Definition) -> String {
    let mut spelling = if row.flags.is_empty() {
        format!("{} (config file only)", row.name)
    } else {
        row.flags.join(", ")
    };
    if let (Takes::Many(metavar) | Takes::One(metavar), false) = (row.takes, row.flags.is_empty()) {
        spelling.push(' ');
        spelling.push_str(metavar);
    }
    spelling
}

/// Appends `text` in lines of at most 80 columns, indented by six.
fn wrap(page: &mut String, text: &str) {
    const INDENT: &str = "      ";
    const WIDTH: usize = 80;
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length <= WIDTH {
            page.push(' ');
            column += 1;
        } else {
            if column > 0 {
                page.push('\n');
            }
            page.push_str(INDENT);
            column = INDENT.len();
        }
        page.push_str(word);
        column += length;
    }
    page.push('\n');
}
