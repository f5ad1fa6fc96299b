//! Who a worker is: what it gives up between its fork and its work.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Uid, getegid, initgroups, setresgid, setresuid};

use crate::{Group, User};

/// What a worker becomes; whatever is absent stays as the arbiter was launched.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Privileges {
    pub(crate) user: Option<User>,
    pub(crate) group: Option<Group>,
    /// Whether to join the groups of which the user is a member.
    pub(crate) initgroups: bool,
}

/// Why a worker could not become who it was to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegesError {
    #[error("cannot become group {group}")]
    Group { group: Group, source: io::Error },
    #[error("cannot join the groups of user {user}")]
    Groups { user: User, source: io::Error },
    #[error("cannot become user {user}")]
    User { user: User, source: io::Error },
}

impl Privileges {
    /// Drops what the process has beyond these, for good: also the saved ids change. Groups first,
    /// for who is not root any more may not change them.
    pub(crate) fn assume(self) -> Result<(), PrivilegesError> {
        if let Some(group) = self.group {
            let gid = Gid::from_raw(group.gid());
            setresgid(gid, gid, gid)
                .map_err(|error| PrivilegesError::Group { group, source: error.into() })?;
        }
        let Some(user) = self.user else { return Ok(()) };
        if self.initgroups {
            join_groups(user).map_err(|source| PrivilegesError::Groups { user, source })?;
        }
        let uid = Uid::from_raw(user.uid());
        setresuid(uid, uid, uid)
            .map_err(|error| PrivilegesError::User { user, source: error.into() })
    }
}

/// As with gunicorn, a user without a name is no member of anything, and keeps the groups there are.
fn join_groups(user: User) -> io::Result<()> {
    let Some(account) = nix::unistd::User::from_uid(Uid::from_raw(user.uid()))? else {
        return Ok(());
    };
    Ok(initgroups(&CString::new(account.name)?, getegid())?)
}
