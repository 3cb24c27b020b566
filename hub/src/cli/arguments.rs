//! How arguments are read.

use std::time::Duration;

use nave_placement::CatalogName;

/// `30s`, `5m`, `1h`, `2d`, `500ms`, or several in a row.
///
/// # Errors
/// When it is none of these.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write 500ms, 30s, 5m, 1h or 2d");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let milliseconds = match &rest[..unit] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        total += Duration::from_millis(number.checked_mul(milliseconds).ok_or_else(wrong)?);
        rest = &rest[unit..];
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}

/// `[NAME=]URL`. A name has no `/` or `:`, so that a URL with `=` in it is none.
///
/// # Errors
/// When the name is not valid.
pub fn catalog(text: &str) -> Result<(CatalogName, String), String> {
    match text.split_once('=').filter(|(name, _)| !name.contains(['/', ':', '.'])) {
        Some((name, url)) => Ok((CatalogName::new(name).map_err(|e| e.to_string())?, url.to_owned())),
        None => Ok((CatalogName::root(), text.to_owned())),
    }
}

/// `KEY=VALUE`.
///
/// # Errors
/// When there is no `=`.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("2d", 172_800_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "30", "s", "0s", "1x", "-1s", "1 h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_catalog_may_have_a_name() {
        let read = |text: &str| catalog(text).map(|(name, url)| (name.to_string(), url));
        let pair = |name: &str, url: &str| Ok((name.to_owned(), url.to_owned()));
        assert_eq!(read("https://git/x?a=b"), pair("main", "https://git/x?a=b"));
        assert_eq!(read("fleet=https://git/x"), pair("fleet", "https://git/x"));
        assert_eq!(read("/srv/git"), pair("main", "/srv/git"));
        assert!(read("Fleet=x").is_err());
    }
}
