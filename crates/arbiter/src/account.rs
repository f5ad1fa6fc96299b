//! Users and groups, found when they are named and not when they are needed.

use std::fmt;
use std::io;
use std::str::FromStr;

use nix::unistd::{Gid, Uid};

/// A user of the system: whom a worker becomes, and who owns a Unix socket.
///
/// Parsed from a name or from a number; a number need not be known to the system.
///
/// ```
/// use rgunicorn_arbiter::User;
///
/// let user: User = "root".parse()?;
/// assert_eq!((user.uid(), user), (0, "0".parse()?));
/// let error = "no-such-user".parse::<User>().unwrap_err();
/// assert_eq!(error.to_string(), "No such user: 'no-such-user'");
/// # Ok::<(), rgunicorn_arbiter::AccountError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct User(Uid);

/// A group of the system; parsed as a [`User`] is.
///
/// ```
/// use rgunicorn_arbiter::Group;
///
/// assert_eq!("root".parse::<Group>()?.gid(), 0);
/// # Ok::<(), rgunicorn_arbiter::AccountError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Group(Gid);

/// A text that names no [`User`] or [`Group`]; the words are gunicorn's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The system's database cannot be asked.
    #[error("'{name}' cannot be looked up")]
    Lookup {
        /// Who was looked for.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// There is no such group, and it is no number of one.
    #[error("No such group: '{0}'")]
    NoSuchGroup(String),
    /// There is no such user, and it is no number of one.
    #[error("No such user: '{0}'")]
    NoSuchUser(String),
}

impl User {
    /// The user's number.
    pub fn uid(self) -> u32 {
        self.0.as_raw()
    }
}

impl Group {
    /// The group's number.
    pub fn gid(self) -> u32 {
        self.0.as_raw()
    }
}

impl FromStr for User {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        let unknown = || AccountError::NoSuchUser(text.to_owned());
        if is_number(text) {
            return id(text).map(|id| Self(Uid::from_raw(id))).ok_or_else(unknown);
        }
        match nix::unistd::User::from_name(text) {
            Ok(user) => user.map(|user| Self(user.uid)).ok_or_else(unknown),
            Err(error) => Err(AccountError::Lookup { name: text.to_owned(), source: error.into() }),
        }
    }
}

impl FromStr for Group {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        let unknown = || AccountError::NoSuchGroup(text.to_owned());
        if is_number(text) {
            return id(text).map(|id| Self(Gid::from_raw(id))).ok_or_else(unknown);
        }
        match nix::unistd::Group::from_name(text) {
            Ok(group) => group.map(|group| Self(group.gid)).ok_or_else(unknown),
            Err(error) => Err(AccountError::Lookup { name: text.to_owned(), source: error.into() }),
        }
    }
}

impl fmt::Display for User {
    /// Writes the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Group {
    /// Writes the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The largest number is nobody's: to setresuid(2) and chown(2) it means "leave it as it is", so
/// that a process would keep the privileges that it was to drop.
fn id(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        for (text, uid) in [
            ("0", Some(0)),
            ("0065534", Some(65534)),
            ("4294967294", Some(4_294_967_294)),
            ("4294967295", None),
            ("4294967296", None),
            ("root", Some(0)),
            ("", None),
            ("-1", None),
            ("no such user", None),
            ("a\0b", None),
        ] {
            assert_eq!(text.parse().ok().map(User::uid), uid, "{text}");
            assert_eq!(text.parse().ok().map(Group::gid), uid, "{text}");
        }
    }

    #[test]
    fn unknown_accounts_in_the_words_of_gunicorn() {
        let user = "4294967295".parse::<User>().unwrap_err();
        assert_eq!(user.to_string(), "No such user: '4294967295'");
        let group = "no such group".parse::<Group>().unwrap_err();
        assert_eq!(group.to_string(), "No such group: 'no such group'");
    }
}
