//! gunicorn's format of access log lines, taken apart once.
//!
//! gunicorn formats each line with Python's `%` and a dictionary. Here the format becomes a list
//! of pieces at the start, and a line is one walk over it.

use std::fmt;

mod layout;

use layout::{LIMIT, Layout, LayoutError};

/// A format, ready for use.
///
/// ```
/// use rgunicorn::access_format::AccessFormat;
///
/// let format: AccessFormat = "%(h)s %(D)s %({x-request-id}i)s".parse()?;
/// assert!(!format.needs_response_headers());
/// assert!("%(h".parse::<AccessFormat>().is_err());
/// # Ok::<(), rgunicorn::access_format::AccessFormatError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessFormat {
    pieces: Vec<Piece>,
    source: String,
}

/// What a format is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Atom(Atom, Layout),
    Text(String),
}

/// What is looked up for each request. Names of fields and variables are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Atom {
    /// Seconds with six decimals.
    DecimalSeconds,
    /// A variable of the WSGI environ, as the application leaves it.
    Environ(String),
    /// A request's field, repetitions joined as in the environ.
    Field(&'static str),
    Method,
    Microseconds,
    Milliseconds,
    Path,
    Pid,
    Protocol,
    Query,
    RemoteAddress,
    /// A request's field, the last one of its name.
    RequestHeader(String),
    RequestLine,
    ResponseHeader(String),
    Seconds,
    SentBytes,
    Status,
    Time,
    User,
}

/// A format by which gunicorn could not write a line either; says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessFormatError {
    /// A percent sign without `(name)`, or an end too soon.
    #[error("'{0}' is no atom such as %(h)s")]
    Atom(String),
    /// An atom with another conversion than `s` or `d`.
    #[error("'{0}' does not end in s or d, such as %(h)s and %(D)d")]
    Conversion(String),
    /// A text, to be written as a number.
    #[error("'{0}' is not a number, as B, D, M and T are: end it in s")]
    NotNumber(String),
    /// A line that would be too long.
    #[error("'{0}' asks for more than {LIMIT} characters")]
    TooWide(String),
}

impl AccessFormat {
    /// gunicorn's default, as Apache's combined log.
    pub const DEFAULT: &'static str =
        r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

    /// Whether lines show fields of the response, which otherwise need not be kept.
    pub fn needs_response_headers(&self) -> bool {
        let mut atoms = self.pieces.iter();
        atoms.any(|piece| matches!(piece, Piece::Atom(Atom::ResponseHeader(_), _)))
    }

    /// The variables of the WSGI environ that lines show, in lower case.
    pub fn environ_variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Atom(Atom::Environ(name), _) => Some(name.as_str()),
            Piece::Atom(..) | Piece::Text(_) => None,
        })
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }
}

impl Default for AccessFormat {
    fn default() -> Self {
        // The default is known to be right; an empty format would be its visible absence.
        Self::DEFAULT.parse().unwrap_or(Self { pieces: Vec::new(), source: String::new() })
    }
}

impl fmt::Display for AccessFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl std::str::FromStr for AccessFormat {
    type Err = AccessFormatError;

    fn from_str(source: &str) -> Result<Self, AccessFormatError> {
        let mut format = Self { pieces: Vec::new(), source: source.to_owned() };
        let mut rest = source;
        while let Some((text, directive)) = rest.split_once('%') {
            format.text(text);
            if let Some(after) = directive.strip_prefix('%') {
                format.text("%");
                rest = after;
                continue;
            }
            let (atom, layout, after) = directive_of(directive)?;
            rest = after;
            if let Some(atom) = atom {
                format.pieces.push(Piece::Atom(atom, layout));
            } else {
                // gunicorn's value for whatever it does not know, and for `l`.
                let mut dash = vec![b'-'];
                layout.apply(&mut dash, 0);
                format.text(&String::from_utf8_lossy(&dash));
            }
        }
        format.text(rest);
        Ok(format)
    }
}

/// What follows a percent sign, `(D)8d` for instance, and the rest behind it.
fn directive_of(text: &str) -> Result<(Option<Atom>, Layout, &str), AccessFormatError> {
    let shown = || format!("%{}", head(text));
    let (name, after) = text
        .strip_prefix('(')
        .and_then(|text| text.split_once(')'))
        .ok_or_else(|| AccessFormatError::Atom(shown()))?;
    let (layout, after) = Layout::parse(after).map_err(|error| match error {
        LayoutError::Conversion if after.is_empty() => AccessFormatError::Atom(shown()),
        LayoutError::Conversion => AccessFormatError::Conversion(shown()),
        LayoutError::Limit => AccessFormatError::TooWide(shown()),
    })?;
    if layout.is_numeric() && !matches!(name, "B" | "D" | "M" | "T") {
        return Err(AccessFormatError::NotNumber(shown()));
    }
    Ok((atom(name), layout, after))
}

/// The atom of this name.
fn atom(name: &str) -> Option<Atom> {
    if let Some((name, kind)) = name.strip_prefix('{').and_then(|name| name.split_once('}')) {
        let name = name.to_ascii_lowercase();
        return match kind {
            "e" => Some(Atom::Environ(name)),
            "i" => Some(Atom::RequestHeader(name)),
            "o" => Some(Atom::ResponseHeader(name)),
            _ => None,
        };
    }
    Some(match name {
        "B" | "b" => Atom::SentBytes,
        "D" => Atom::Microseconds,
        "H" => Atom::Protocol,
        "L" => Atom::DecimalSeconds,
        "M" => Atom::Milliseconds,
        "T" => Atom::Seconds,
        "U" => Atom::Path,
        "a" => Atom::Field("user-agent"),
        "f" => Atom::Field("referer"),
        "h" => Atom::RemoteAddress,
        "m" => Atom::Method,
        "p" => Atom::Pid,
        "q" => Atom::Query,
        "r" => Atom::RequestLine,
        "s" => Atom::Status,
        "t" => Atom::Time,
        "u" => Atom::User,
        _ => return None,
    })
}

/// The beginning of what is wrong, up to a blank.
fn head(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_taken_apart() {
        let format: AccessFormat = "%(h)s%(l)s 100%% %(zz)s %({X-Id}o)s%(D)d!".parse().unwrap();
        let (number, _) = Layout::parse("d").unwrap();
        let expected = [
            Piece::Atom(Atom::RemoteAddress, Layout::default()),
            Piece::Text("- 100% - ".into()),
            Piece::Atom(Atom::ResponseHeader("x-id".into()), Layout::default()),
            Piece::Atom(Atom::Microseconds, number),
            Piece::Text("!".into()),
        ];
        assert_eq!(format.pieces(), expected);
        assert!(format.needs_response_headers());
        assert_eq!(format.to_string(), "%(h)s%(l)s 100%% %(zz)s %({X-Id}o)s%(D)d!");
        assert!(!AccessFormat::default().pieces().is_empty());
        let format: AccessFormat = "%({REMOTE_USER}e)s%(h)s%({x}e)-3s".parse().unwrap();
        assert_eq!(format.environ_variables().collect::<Vec<_>>(), ["remote_user", "x"]);
    }

    #[test]
    fn what_python_reads_over() {
        for source in ["%(h)#010s", "%(h)0-5s", "%(h)ls", "%(h).s", "%(T)5.s", "%(D)+ i"] {
            assert!(source.parse::<AccessFormat>().is_ok(), "{source}");
        }
    }

    #[test]
    fn formats_that_python_refuses() {
        let (no_atom, no_number) = ("no atom", "not a number");
        let (conversion, limit) = ("does not end in s or d", "more than 1000 characters");
        for (source, shown, reason) in [
            ("%", "%", no_atom),
            ("%h x", "%h", no_atom),
            ("a %(h", "%(h", no_atom),
            ("%(h)", "%(h)", no_atom),
            ("%5%", "%5%", no_atom),
            ("%(h)d", "%(h)d", no_number),
            ("%(s)05d", "%(s)05d", no_number),
            ("%({x}e)d", "%({x}e)d", no_number),
            ("%(h)\u{e9}", "%(h)\u{e9}", conversion),
            ("%(h)*s", "%(h)*s", conversion),
            ("%(h)5", "%(h)5", conversion),
            ("%(h)-.3", "%(h)-.3", conversion),
            ("%(D)f", "%(D)f", conversion),
            ("%(h)1001s", "%(h)1001s", limit),
            ("%(h).99999999999999999999s", "%(h).99999999999999999999s", limit),
        ] {
            let error = source.parse::<AccessFormat>().unwrap_err().to_string();
            let starts = error.starts_with(&format!("'{shown}' "));
            assert!(starts && error.contains(reason), "{source}: {error}");
        }
    }
}
