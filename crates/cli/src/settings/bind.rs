//! The rules of `bind`: several addresses, in a list or between commas.

use rgunicorn_arbiter::{Address, AddressError};

use super::{Raw, Rejection};

/// gunicorn's default, `127.0.0.1:8000`.
pub(super) fn default() -> Vec<Address> {
    "127.0.0.1:8000".parse().into_iter().collect()
}

/// Every address of the list; each item may hold several between commas.
pub(super) fn parse(raw: &Raw) -> Result<Vec<Address>, Rejection> {
    let mut addresses = Vec::new();
    for item in raw.items() {
        let text = item.text(FORMS)?;
        let text = text.to_str().ok_or_else(|| Rejection::allowed(FORMS))?;
        // The empty string alone is gunicorn's 0.0.0.0:8000; a stray comma must not mean that.
        let several = text.contains(',');
        for part in text.split(',').map(str::trim) {
            if several && part.is_empty() {
                return Err(Rejection::allowed(FORMS));
            }
            let address = part
                .parse()
                .map_err(|error: AddressError| Rejection::allowed(format!("{FORMS}; {error}")))?;
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(Rejection::allowed(FORMS));
    }
    Ok(addresses)
}

const FORMS: &str = "one or more of HOST, HOST:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME, fd://N";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_one_address() {
        assert_eq!(default().len(), 1);
    }
}
