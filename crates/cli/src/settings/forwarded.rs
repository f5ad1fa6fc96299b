//! Whom to believe when a request says that its client came by https.

use std::fmt;
use std::str::FromStr;

use rgunicorn_http1::{SecureSchemeHeaders, TrustedPeers};

use super::value::list;
use super::{Raw, Rejection};

/// The peers that may speak for the client, as they were written.
///
/// ```
/// use rgunicorn::settings::ForwardedAllowIps;
///
/// let allowed: ForwardedAllowIps = "127.0.0.1, 10.0.0.0/8".parse()?;
/// assert_eq!(allowed.to_string(), "['127.0.0.1', '10.0.0.0/8']");
/// # Ok::<(), rgunicorn_http1::TrustedPeersError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedAllowIps {
    entries: Vec<String>,
    peers: TrustedPeers,
}

impl ForwardedAllowIps {
    /// The peers.
    pub fn peers(&self) -> &TrustedPeers {
        &self.peers
    }
}

impl Default for ForwardedAllowIps {
    fn default() -> Self {
        let entries = ["127.0.0.1", "::1"].map(str::to_owned).into();
        Self { entries, peers: TrustedPeers::default() }
    }
}

impl fmt::Display for ForwardedAllowIps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list(&self.entries))
    }
}

impl FromStr for ForwardedAllowIps {
    type Err = rgunicorn_http1::TrustedPeersError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entries: Vec<String> = entries.map(str::to_owned).collect();
        Ok(Self { peers: entries.join(",").parse()?, entries })
    }
}

/// Addresses and networks between commas, or in a list.
pub(super) fn allow_ips(raw: &Raw) -> Result<ForwardedAllowIps, Rejection> {
    const ALLOWED: &str = "IP addresses and networks between commas, or *";
    let texts = raw
        .items()
        .iter()
        .map(|item| item.text(ALLOWED)?.to_str().ok_or_else(|| Rejection::allowed(ALLOWED)));
    let text = texts.collect::<Result<Vec<_>, _>>()?.join(",");
    text.parse().map_err(|error: rgunicorn_http1::TrustedPeersError| {
        Rejection::allowed(format!("{ALLOWED}; {error}"))
    })
}

/// gunicorn's default.
pub(super) fn default_scheme_headers() -> Vec<(String, String)> {
    let headers = SecureSchemeHeaders::default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|(name, value)| (text(name).to_ascii_uppercase(), text(value))).collect()
}

/// A dict of names and values.
pub(super) fn scheme_headers(raw: &Raw) -> Result<Vec<(String, String)>, Rejection> {
    const ALLOWED: &str = "a dict of names and values, such as {'X-FORWARDED-PROTO': 'https'}";
    let Raw::Map(entries) = raw else {
        return Err(Rejection::allowed(ALLOWED));
    };
    let pair = |(name, value): &(Raw, Raw)| {
        Ok((name.word(ALLOWED)?.to_owned(), value.word(ALLOWED)?.to_owned()))
    };
    entries.iter().map(pair).collect()
}

/// As Python would print the dict.
pub(super) fn show_scheme_headers(headers: &[(String, String)]) -> String {
    let raw = |text: &str| Raw::Text(text.into());
    Raw::Map(headers.iter().map(|(name, value)| (raw(name), raw(value))).collect()).to_string()
}
