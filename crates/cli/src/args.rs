//! The command line, by the conventions of argparse.
//!
//! Operators know gunicorn's command line, and that is argparse's: long options may be shortened,
//! `-w4`, `-w 4`, `--workers=4` are the same, an option's value does not begin with a dash unless
//! it is a number, and mistakes end with a usage line and status 2. Splitting words into options
//! is lexopt's work, the conventions are here.

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser};

use crate::settings::{Layer, NEEDLESS, NOT_YET, Origin, Raw, SETTINGS, Takes};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// `--help`.
    Help,
    /// To serve, with these settings; the positional argument is `wsgi_app`.
    Serve(Layer),
    /// `--version`.
    Version,
}

/// A command line that makes no sense, in argparse's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A shortened option that fits several.
    #[error("ambiguous option: {option} could match {}", .candidates.join(", "))]
    Ambiguous {
        /// The option as it was written.
        option: String,
        /// The options that begin so.
        candidates: Vec<&'static str>,
    },
    /// A value for an option that takes none.
    #[error("argument {option}: ignored explicit argument '{value}'")]
    ExplicitArgument {
        /// All spellings of the option.
        option: String,
        /// The value.
        value: String,
    },
    /// An option without its value.
    #[error("argument {option}: expected one argument")]
    MissingArgument {
        /// All spellings of the option.
        option: String,
    },
    /// Options that do not exist, and positional arguments beyond the first.
    #[error("unrecognized arguments: {}{}", .arguments.join(" "), hint(*.suggestion))]
    Unrecognized {
        /// The arguments as they were written.
        arguments: Vec<String>,
        /// The option that was perhaps meant.
        suggestion: Option<&'static str>,
    },
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |flag| format!(" (did you mean {flag}?)"))
}

/// Parses the arguments of the command, without the program's name.
///
/// ```
/// use rgunicorn::args::{self, Invocation};
///
/// let line = ["-w4", "--bind=:9000", "shop:app"].map(Into::into);
/// assert!(matches!(args::parse(&line)?, Invocation::Serve(_)));
/// assert!(args::parse(&["--workes=4".into()]).is_err());
/// # Ok::<(), rgunicorn::args::UsageError>(())
/// ```
///
/// # Errors
///
/// What is no command line of this program. Values are not judged here, but by
/// [`Settings::resolve`](crate::settings::Settings::resolve).
pub fn parse(arguments: &[OsString]) -> Result<Invocation, UsageError> {
    let mut parser = Parser::from_args(arguments);
    let mut layer = Layer::default();
    let mut unrecognized = Unrecognized::default();
    let mut has_application = false;
    loop {
        let spelled = match parser.next() {
            Ok(Some(Arg::Long(name))) => format!("--{name}"),
            Ok(Some(Arg::Short(letter))) => format!("-{letter}"),
            Ok(Some(Arg::Value(value))) => {
                if has_application {
                    unrecognized.positional(&value);
                } else {
                    has_application = true;
                    let origin = Origin::CommandLine("APP_MODULE");
                    layer.set("wsgi_app", Raw::Text(value), origin);
                }
                continue;
            }
            Ok(None) => break,
            Err(error) => return Err(explicit_argument(&error)),
        };
        let Some((flag, option)) = find(&spelled)? else {
            unrecognized.option(&spelled, parser.optional_value());
            continue;
        };
        let setting = match option.means {
            Means::Help => return Ok(Invocation::Help),
            Means::Version => return Ok(Invocation::Version),
            Means::Setting(name) => name,
        };
        let origin = Origin::CommandLine(flag);
        match option.takes {
            Takes::Nothing => layer.set(setting, Raw::Bool(true), origin),
            Takes::Off => layer.set(setting, Raw::Bool(false), origin),
            Takes::Maybe => {
                let value = value(&mut parser).map_or(Raw::Bool(true), Raw::Text);
                layer.set(setting, value, origin);
            }
            Takes::One(_) | Takes::Many(_) => {
                let text = value(&mut parser).ok_or_else(|| UsageError::MissingArgument {
                    option: option.flags.join("/"),
                })?;
                match option.takes {
                    Takes::Many(_) => layer.append(setting, Raw::Text(text), origin),
                    _ => layer.set(setting, Raw::Text(text), origin),
                }
            }
        }
    }
    unrecognized.into_result()?;
    Ok(Invocation::Serve(layer))
}

/// The value of the option just read: attached, or the next word if that looks like no option.
fn value(parser: &mut Parser) -> Option<OsString> {
    if let Some(attached) = parser.optional_value() {
        return Some(attached);
    }
    parser.try_raw_args()?.next_if(is_value)
}

/// argparse's rule: a word that begins with a dash is an option, except the dash alone, negative
/// numbers, and words with a blank in them.
fn is_value(word: &OsStr) -> bool {
    let word = word.to_string_lossy();
    match word.strip_prefix('-') {
        None | Some("") => true,
        Some(rest) => is_number(rest) || word.contains(' '),
    }
}

fn is_number(word: &str) -> bool {
    let (whole, fraction) = word.split_once('.').unwrap_or(("", word));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && !fraction.is_empty()
}

/// One option of the command line.
#[derive(Clone, Copy)]
struct CommandOption {
    flags: &'static [&'static str],
    takes: Takes,
    means: Means,
}

#[derive(Clone, Copy)]
enum Means {
    Help,
    Setting(&'static str),
    Version,
}

fn options() -> impl Iterator<Item = CommandOption> {
    let own = [(&["-h", "--help"] as &[_], Means::Help), (&["-v", "--version"], Means::Version)];
    let own = own.map(|(flags, means)| (flags, Takes::Nothing, means));
    let settings = SETTINGS.iter().map(|row| (row.flags, row.takes, Means::Setting(row.name)));
    let not_yet = NOT_YET.iter().map(|row| (row.flags, row.takes, Means::Setting(row.name)));
    let needless = NEEDLESS.iter().map(|row| (row.flags, row.takes, Means::Setting(row.name)));
    let all = own.into_iter().chain(settings).chain(not_yet).chain(needless);
    all.map(|(flags, takes, means)| CommandOption { flags, takes, means })
}

fn spellings() -> impl Iterator<Item = (&'static str, CommandOption)> {
    options().flat_map(|option| option.flags.iter().map(move |flag| (*flag, option)))
}

/// The option of this spelling, or the only one that begins so.
fn find(spelled: &str) -> Result<Option<(&'static str, CommandOption)>, UsageError> {
    if let Some(exact) = spellings().find(|(flag, _)| *flag == spelled) {
        return Ok(Some(exact));
    }
    let candidates: Vec<_> = spellings()
        .filter(|(flag, _)| spelled.starts_with("--") && flag.starts_with(spelled))
        .collect();
    let mut settings: Vec<_> = candidates.iter().map(|(_, option)| option.flags).collect();
    settings.dedup();
    match (candidates.first(), settings.len()) {
        // Two spellings of one option are no ambiguity.
        (Some(only), 1) => Ok(Some(*only)),
        (None, _) => Ok(None),
        (Some(_), _) => Err(UsageError::Ambiguous {
            option: spelled.to_owned(),
            candidates: candidates.into_iter().map(|(flag, _)| flag).collect(),
        }),
    }
}

/// lexopt complains of a value that nobody took; all else about values is decided here.
fn explicit_argument(error: &lexopt::Error) -> UsageError {
    if let lexopt::Error::UnexpectedValue { option, value } = error {
        let option = match find(option) {
            Ok(Some((_, found))) => found.flags.join("/"),
            _ => option.clone(),
        };
        return UsageError::ExplicitArgument {
            option,
            value: value.to_string_lossy().into_owned(),
        };
    }
    UsageError::Unrecognized { arguments: vec![error.to_string()], suggestion: None }
}

/// Collects what no option matches, for one complaint at the end, as argparse does.
#[derive(Default)]
struct Unrecognized {
    arguments: Vec<String>,
    suggestion: Option<&'static str>,
}

impl Unrecognized {
    fn positional(&mut self, value: &OsStr) {
        self.arguments.push(value.to_string_lossy().into_owned());
    }

    /// `attached` is the rest of the word: a value after `=`, or the letters after a short one.
    fn option(&mut self, spelled: &str, attached: Option<OsString>) {
        let attached = attached.map_or_else(String::new, |rest| rest.to_string_lossy().into());
        let separator = match (spelled.starts_with("--"), attached.is_empty()) {
            (true, false) => "=",
            _ => "",
        };
        self.arguments.push(format!("{spelled}{separator}{attached}"));
        if self.suggestion.is_none() {
            self.suggestion = nearest(spelled);
        }
    }

    fn into_result(self) -> Result<(), UsageError> {
        if self.arguments.is_empty() {
            return Ok(());
        }
        Err(UsageError::Unrecognized { arguments: self.arguments, suggestion: self.suggestion })
    }
}

/// The long option that a typing mistake or two would turn into `spelled`.
fn nearest(spelled: &str) -> Option<&'static str> {
    spellings()
        .map(|(flag, _)| flag)
        .filter(|flag| flag.starts_with("--"))
        .map(|flag| (edit_distance(spelled, flag), flag))
        .filter(|(distance, flag)| *distance <= 2.min(flag.len() / 4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, flag)| flag)
}

/// Levenshtein's distance, one row of its table at a time.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Vec<String>, String> {
        let line: Vec<OsString> = line.iter().map(Into::into).collect();
        match parse(&line).map_err(|error| error.to_string())? {
            Invocation::Help => Ok(vec!["help".into()]),
            Invocation::Version => Ok(vec!["version".into()]),
            Invocation::Serve(layer) => Ok(layer
                .iter()
                .map(|(name, value, origin)| format!("{name}={value} from {origin}"))
                .collect()),
        }
    }

    #[test]
    fn the_forms_of_argparse() {
        let cases: &[(&[&str], &[&str])] = &[
            (&[], &[]),
            (&["a:b"], &["wsgi_app='a:b' from APP_MODULE"]),
            (&["-w4"], &["workers='4' from -w"]),
            (&["-w", "4"], &["workers='4' from -w"]),
            (&["-w=4"], &["workers='4' from -w"]),
            (&["--workers", "4"], &["workers='4' from --workers"]),
            (&["--workers=4"], &["workers='4' from --workers"]),
            (&["--workers="], &["workers='' from --workers"]),
            (&["-w", "-1"], &["workers='-1' from -w"]),
            (&["-w", "-1.5"], &["workers='-1.5' from -w"]),
            (&["-w", "1", "-w", "2"], &["workers='2' from -w"]),
            (&["--log-l", "debug"], &["loglevel='debug' from --log-level"]),
            (&["--graceful=5"], &["graceful_timeout='5' from --graceful-timeout"]),
            (
                &["--limit-request-field_s", "9"],
                &["limit_request_field_size='9' from --limit-request-field_size"],
            ),
            (&["--access-logfile", "-"], &["accesslog='-' from --access-logfile"]),
            (&["-b", "a", "--bind", "b"], &["bind=['a', 'b'] from -b"]),
            (&["--chdir", "-x y"], &["chdir='-x y' from --chdir"]),
            (&["-Rw4"], &["enable_stdio_inheritance=True from -R", "workers='4' from -w"]),
            (&["--no-request-buffering"], &["request_buffering=False from --no-request-buffering"]),
            (&["--", "--weird:app"], &["wsgi_app='--weird:app' from APP_MODULE"]),
            (&["a:b", "-w2"], &["workers='2' from -w", "wsgi_app='a:b' from APP_MODULE"]),
            (
                &["--proxy-protocol", "-w2"],
                &["proxy_protocol=True from --proxy-protocol", "workers='2' from -w"],
            ),
            (&["--proxy-protocol", "v1"], &["proxy_protocol='v1' from --proxy-protocol"]),
            (&["-h", "--nonsense"], &["help"]),
            (&["--help"], &["help"]),
            (&["-v"], &["version"]),
            (&["--vers"], &["version"]),
        ];
        for (line, expected) in cases {
            assert_eq!(parsed(line).unwrap(), *expected, "{line:?}");
        }
    }

    #[test]
    fn the_complaints_of_argparse() {
        let cases: &[(&[&str], &str)] = &[
            (&["--bogus", "--x", "a"], "unrecognized arguments: --bogus --x"),
            (&["--bogus=3"], "unrecognized arguments: --bogus=3"),
            (&["-zD"], "unrecognized arguments: -zD"),
            (&["a", "b", "c"], "unrecognized arguments: b c"),
            (&["--workes=4"], "unrecognized arguments: --workes=4 (did you mean --workers?)"),
            (
                &["--keepalive", "4"],
                "unrecognized arguments: --keepalive (did you mean --keep-alive?)",
            ),
            (
                &["--worker"],
                "ambiguous option: --worker could match \
                 --workers, --worker-class, --worker-connections, --worker-tmp-dir",
            ),
            (&["-w"], "argument -w/--workers: expected one argument"),
            (&["-w", "--bind", "a"], "argument -w/--workers: expected one argument"),
            (&["-w", "--"], "argument -w/--workers: expected one argument"),
            (&["--preload=3"], "argument --preload: ignored explicit argument '3'"),
            (&["-D=3"], "argument -D/--daemon: ignored explicit argument '3'"),
        ];
        for (line, expected) in cases {
            assert_eq!(parsed(line).unwrap_err(), *expected, "{line:?}");
        }
    }

    #[test]
    fn every_spelling_is_unique_and_found() {
        let mut seen = std::collections::BTreeSet::new();
        for (flag, _) in spellings() {
            assert!(seen.insert(flag), "{flag} twice");
            let (found, _) = find(flag).unwrap().unwrap();
            assert_eq!(found, flag);
        }
    }

    #[test]
    fn distances() {
        for (from, to, distance) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3)] {
            assert_eq!(edit_distance(from, to), distance, "{from} {to}");
        }
    }

    #[test]
    fn values_need_not_be_utf8() {
        use std::os::unix::ffi::OsStringExt;
        let path = OsString::from_vec(b"/tmp/\xff".to_vec());
        let Invocation::Serve(layer) = parse(&["--chdir".into(), path.clone()]).unwrap() else {
            panic!("not to serve");
        };
        let value = layer.iter().next().map(|(_, value, _)| value.clone());
        assert_eq!(value, Some(Raw::Text(path)));
    }
}
