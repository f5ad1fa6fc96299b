//! What `--print-config` prints.

use super::{SETTINGS, Settings};

/// One line for each setting, `name = value`, in alphabetical order; gunicorn's form.
///
/// ```
/// use rgunicorn::settings::{Settings, listing};
///
/// let page = listing(&Settings::default());
/// assert!(page.lines().any(|line| line.starts_with("workers ") && line.ends_with(" = 1")));
/// ```
pub fn listing(settings: &Settings) -> String {
    let mut rows: Vec<_> = SETTINGS.iter().map(|row| (row.name, (row.show)(settings))).collect();
    rows.sort_unstable();
    let lines = rows.iter().map(|(name, value)| format!("{name:GUNICORNS_WIDTH$} = {value}\n"));
    lines.collect::<Vec<_>>().concat()
}

/// Its longest name's; some that are not gunicorn's are longer.
const GUNICORNS_WIDTH: usize = "limit_request_field_size".len();
