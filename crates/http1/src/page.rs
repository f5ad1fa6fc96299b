//! The page that answers what no application sees.

use bytes::Bytes;

use crate::reason::canonical_reason;

/// A whole response for an error: gunicorn's small HTML page, `Connection: close`, always as
/// HTTP/1.1, since the request's version may be what could not be read. `message` is escaped.
///
/// # Examples
///
/// ```
/// let response = rgunicorn_http1::error_response(503, "<busy>");
/// assert!(response.starts_with(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"));
/// assert!(response.windows(12).any(|w| w == b"&lt;busy&gt;"));
/// ```
pub fn error_response(status: u16, message: &str) -> Bytes {
    let reason = canonical_reason(status);
    let message = escape(message);
    let page = format!(
        "<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n    \
         <h1><p>{reason}</p></h1>\n    {message}\n  </body>\n</html>\n"
    );
    let length = page.len();
    Bytes::from(format!(
        "HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: text/html\r\n\
         Content-Length: {length}\r\n\r\n{page}"
    ))
}

/// Escapes what HTML gives a meaning to, quotes too.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_page() {
        for message in ["", "plain", "<script>alert('ä')</script> & \"x\""] {
            let response = error_response(400, message);
            let text = std::str::from_utf8(&response).unwrap();
            let (head, page) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("Content-Length: {}", page.len())), "{head}");
            assert!(page.contains("<h1><p>Bad Request</p></h1>"), "{page}");
        }
    }

    #[test]
    fn html_is_escaped() {
        assert_eq!(escape("<a b='\"'>&"), "&lt;a b=&#x27;&quot;&#x27;&gt;&amp;");
    }
}
