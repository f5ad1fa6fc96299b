//! gunicorn's format of access log lines, taken apart once.
//!
//! gunicorn formats each line with Python's `%` and a dictionary. Here the format becomes a list
//! of pieces at the start, and a line is one walk over it.

use std::fmt;

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
    Atom(Atom),
    Text(String),
}

/// What is looked up for each request. Names of fields and variables are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Atom {
    /// Seconds with six decimals.
    DecimalSeconds,
    /// A variable of the WSGI environ.
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

/// A format that Python would not take either; says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no atom such as %(h)s")]
pub struct AccessFormatError(String);

impl AccessFormat {
    /// gunicorn's default, as Apache's combined log.
    pub const DEFAULT: &'static str =
        r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

    /// Whether lines show fields of the response, which otherwise need not be kept.
    pub fn needs_response_headers(&self) -> bool {
        let mut atoms = self.pieces.iter();
        atoms.any(|piece| matches!(piece, Piece::Atom(Atom::ResponseHeader(_))))
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
            let shown = || AccessFormatError(format!("%{}", head(directive)));
            let (name, after) =
                directive.strip_prefix('(').and_then(|d| d.split_once(')')).ok_or_else(shown)?;
            // Python converts by `s` whatever there is, and by `d` only numbers.
            let conversion = after.chars().next();
            let is_right = match conversion {
                Some('d') => matches!(name, "B" | "D" | "M" | "T"),
                conversion => conversion == Some('s'),
            };
            rest = after.get(1..).filter(|_| is_right).ok_or_else(shown)?;
            match atom(name) {
                Some(atom) => format.pieces.push(Piece::Atom(atom)),
                // gunicorn's value for whatever it does not know, and for `l`.
                None => format.text("-"),
            }
        }
        format.text(rest);
        Ok(format)
    }
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
        let expected = [
            Piece::Atom(Atom::RemoteAddress),
            Piece::Text("- 100% - ".into()),
            Piece::Atom(Atom::ResponseHeader("x-id".into())),
            Piece::Atom(Atom::Microseconds),
            Piece::Text("!".into()),
        ];
        assert_eq!(format.pieces(), expected);
        assert!(format.needs_response_headers());
        assert_eq!(format.to_string(), "%(h)s%(l)s 100%% %(zz)s %({X-Id}o)s%(D)d!");
        assert!(!AccessFormat::default().pieces().is_empty());
    }

    #[test]
    fn formats_that_python_refuses() {
        for (source, shown) in [
            ("%", "%"),
            ("%h x", "%h"),
            ("a %(h", "%(h"),
            ("%(h)", "%(h)"),
            ("%(h)d", "%(h)d"),
            ("%(h)\u{e9}", "%(h)\u{e9}"),
        ] {
            let error = source.parse::<AccessFormat>().unwrap_err().to_string();
            assert_eq!(error, format!("'{shown}' is no atom such as %(h)s"));
        }
    }
}
