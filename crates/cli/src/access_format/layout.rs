//! What stands between `%(h)` and its `s`: flags, width, precision (Python's "printf-style String
//! Formatting").

/// How one value is laid out. The default leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    kind: Kind,
    /// Blanks go behind the value, not before it.
    left: bool,
    /// Characters of a text at most, digits of a number at least; 0 to `LIMIT`.
    precision: Option<usize>,
    /// Stands before a number: `+` or a blank.
    sign: Option<u8>,
    /// Characters at least, 0 to `LIMIT`.
    width: usize,
    /// A number is filled up with zeros.
    zeros: bool,
}

/// What a value is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// Digits only.
    Number,
    #[default]
    Text,
}

/// Why a layout cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayoutError {
    /// It does not end in a conversion that is known.
    Conversion,
    /// Width or precision is above `LIMIT`.
    Limit,
}

/// The most characters of a width or a precision: more would be a slip, and make every line as long.
pub(crate) const LIMIT: usize = 1000;

impl Layout {
    /// Reads a layout, from behind the parenthesis up to and with its conversion, and returns what
    /// follows it.
    pub(crate) fn parse(text: &str) -> Result<(Self, &str), LayoutError> {
        let mut layout = Self::default();
        let mut rest = text;
        while let Some((flag @ (b'#' | b'0' | b'-' | b' ' | b'+'), after)) = split(rest) {
            match flag {
                b'-' => layout.left = true,
                b'0' => layout.zeros = true,
                b'+' => layout.sign = Some(b'+'),
                b' ' if layout.sign.is_none() => layout.sign = Some(b' '),
                _ => {}
            }
            rest = after;
        }
        (layout.width, rest) = number(rest)?;
        if let Some(digits) = rest.strip_prefix('.') {
            let (precision, after) = number(digits)?;
            (layout.precision, rest) = (Some(precision), after);
        }
        // C's length of the argument, which Python reads over.
        let rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        match split(rest) {
            Some((b'd' | b'i' | b'u', after)) => Ok((Self { kind: Kind::Number, ..layout }, after)),
            Some((b's', after)) => Ok((layout, after)),
            _ => Err(LayoutError::Conversion),
        }
    }

    /// Whether it is for numbers only.
    pub(crate) fn is_numeric(&self) -> bool {
        self.kind == Kind::Number
    }

    /// Lays out the value that the buffer has from `start` on; a text is escaped already.
    pub(crate) fn apply(&self, buffer: &mut Vec<u8>, start: usize) {
        if *self == Self::default() {
            return;
        }
        match (self.kind, self.precision) {
            (Kind::Number, digits) => self.lay_out_number(buffer, start, digits.unwrap_or(0)),
            (Kind::Text, Some(characters)) => {
                let text = buffer.get(start..).unwrap_or_default();
                buffer.truncate(start + length_of(text, characters));
            }
            (Kind::Text, None) => {}
        }
        let missing = self.missing(buffer, start);
        let at = if self.left { buffer.len() } else { start };
        insert(buffer, at, b' ', missing);
    }

    fn lay_out_number(&self, buffer: &mut Vec<u8>, start: usize, digits: usize) {
        insert(buffer, start, b'0', digits.saturating_sub(buffer.len() - start));
        let sign = usize::from(self.sign.is_some());
        if self.zeros && !self.left {
            let missing = self.missing(buffer, start).saturating_sub(sign);
            insert(buffer, start, b'0', missing);
        }
        if let Some(sign) = self.sign {
            insert(buffer, start, sign, 1);
        }
    }

    /// By how much the value is too short.
    fn missing(&self, buffer: &[u8], start: usize) -> usize {
        self.width.saturating_sub(buffer.len() - start)
    }
}

/// How many bytes of an escaped text show this many characters of it: an escape is one character,
/// and half of one would set free what it holds.
fn length_of(text: &[u8], characters: usize) -> usize {
    let mut rest = text;
    for _ in 0..characters {
        let length = match rest {
            [b'\\', b'x', ..] => 4,
            [b'\\', b'u', ..] => 6,
            [b'\\', b'U', ..] => 10,
            [b'\\', ..] => 2,
            [_, ..] => 1,
            [] => break,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    text.len() - rest.len()
}

fn insert(buffer: &mut Vec<u8>, at: usize, byte: u8, count: usize) {
    buffer.splice(at..at, std::iter::repeat_n(byte, count));
}

/// The first byte, if it is ASCII, and what follows.
fn split(text: &str) -> Option<(u8, &str)> {
    let byte = *text.as_bytes().first()?;
    Some((byte, text.get(1..)?))
}

/// A decimal number, 0 without digits, and what follows.
fn number(text: &str) -> Result<(usize, &str), LayoutError> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Ok((0, rest));
    }
    let number = digits.parse().ok().filter(|number| *number <= LIMIT);
    number.map(|number| (number, rest)).ok_or(LayoutError::Limit)
}
