//! What the operator may decide.

use bytes::Bytes;

use crate::forwarded::SecureSchemeHeaders;
use crate::trusted_peers::TrustedPeers;

/// Limits on what a peer may send and whom to trust, under gunicorn's names and with gunicorn's
/// defaults, and the name that responses carry. One `Config` is shared by all connections.
///
/// # Examples
///
/// ```
/// use rgunicorn_http1::Config;
///
/// let config = Config::new().limit_request_line(2048).server("example/1.0");
/// assert_eq!(config.limit_request_fields, 100);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The peers whose [`secure_scheme_headers`](Self::secure_scheme_headers) count. Default
    /// `127.0.0.1,::1`.
    pub forwarded_allow_ips: TrustedPeers,
    /// Bytes of a request line, without its line end. 0: no limit but [`Config::HEAD_LIMIT`].
    /// Default 4094. Beyond it: 414.
    pub limit_request_line: usize,
    /// Fields in a head, and in a trailer section. 0 and anything larger mean
    /// [`Config::FIELDS_LIMIT`]. Default 100. Beyond it: 431.
    pub limit_request_fields: usize,
    /// Bytes of one field line with its line end, as gunicorn counts. 0: no limit but
    /// [`Config::HEAD_LIMIT`]. Default 8190. Beyond it: 431.
    pub limit_request_field_size: usize,
    /// What a trusted peer says to let a request count as `https`. Default: gunicorn's three, see
    /// [`SecureSchemeHeaders::default`].
    pub secure_scheme_headers: SecureSchemeHeaders,
    /// Value of the `Server` field. Default `None`: responses do not name the server.
    pub server: Option<Bytes>,
}

impl Config {
    /// Bytes that a request line, a field section or a trailer section may have, whatever the
    /// settings say: "unlimited" must not mean "until memory ends". Under the default settings a
    /// head can reach 823 kB, so that they are not cut by it.
    pub const HEAD_LIMIT: usize = 1 << 20;

    /// Fields that a section may have, whatever the settings say; gunicorn's own ceiling.
    pub const FIELDS_LIMIT: usize = 32_768;

    /// gunicorn's defaults, and no `Server` field.
    pub fn new() -> Self {
        Self {
            forwarded_allow_ips: TrustedPeers::default(),
            limit_request_line: 4094,
            limit_request_fields: 100,
            limit_request_field_size: 8190,
            secure_scheme_headers: SecureSchemeHeaders::default(),
            server: None,
        }
    }

    /// Sets [`Config::forwarded_allow_ips`].
    #[must_use]
    pub fn forwarded_allow_ips(mut self, peers: TrustedPeers) -> Self {
        self.forwarded_allow_ips = peers;
        self
    }

    /// Sets [`Config::limit_request_line`], in bytes.
    #[must_use]
    pub fn limit_request_line(mut self, size_bytes: usize) -> Self {
        self.limit_request_line = size_bytes;
        self
    }

    /// Sets [`Config::limit_request_fields`].
    #[must_use]
    pub fn limit_request_fields(mut self, count: usize) -> Self {
        self.limit_request_fields = count;
        self
    }

    /// Sets [`Config::limit_request_field_size`], in bytes.
    #[must_use]
    pub fn limit_request_field_size(mut self, size_bytes: usize) -> Self {
        self.limit_request_field_size = size_bytes;
        self
    }

    /// Sets [`Config::secure_scheme_headers`]; none at all lets every request be `http`.
    #[must_use]
    pub fn secure_scheme_headers(mut self, headers: SecureSchemeHeaders) -> Self {
        self.secure_scheme_headers = headers;
        self
    }

    /// Sets [`Config::server`].
    #[must_use]
    pub fn server(mut self, name: impl Into<Bytes>) -> Self {
        self.server = Some(name.into());
        self
    }

    /// The limit in force on a request line.
    pub(crate) fn line_limit(&self) -> usize {
        capped(self.limit_request_line, Self::HEAD_LIMIT)
    }

    /// The limit in force on the number of fields.
    pub(crate) fn fields_limit(&self) -> usize {
        capped(self.limit_request_fields, Self::FIELDS_LIMIT)
    }

    /// The limit in force on one field line.
    pub(crate) fn field_limit(&self) -> usize {
        capped(self.limit_request_field_size, Self::HEAD_LIMIT)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

fn capped(setting: usize, ceiling: usize) -> usize {
    if setting == 0 { ceiling } else { setting.min(ceiling) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_the_ceiling() {
        let config =
            Config::new().limit_request_line(0).limit_request_fields(0).limit_request_field_size(0);
        assert_eq!(config.line_limit(), Config::HEAD_LIMIT);
        assert_eq!(config.fields_limit(), Config::FIELDS_LIMIT);
        assert_eq!(config.field_limit(), Config::HEAD_LIMIT);
    }

    #[test]
    fn nothing_exceeds_the_ceiling() {
        let config = Config::new().limit_request_line(usize::MAX).limit_request_fields(usize::MAX);
        assert_eq!(config.line_limit(), Config::HEAD_LIMIT);
        assert_eq!(config.fields_limit(), Config::FIELDS_LIMIT);
        assert_eq!(Config::default().line_limit(), 4094);
    }
}
