//! Challenge: how a server wants to be shown who asks (RFC 9110, section 11).
//!
//! In: `WWW-Authenticate`. Out: where a registry gives out tokens, or that it takes a password. Never: fails over a scheme that it does not know.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token, which is asked for elsewhere.
    Bearer {
        /// Where: a URL.
        realm: String,
        /// For whom.
        service: Option<String>,
    },
    /// A user name and a password.
    Basic,
}

/// The best of what is wanted: a token before a password.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut found = None;
    for (scheme, mut parameters) in texts.flat_map(parts) {
        if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = parameters.remove("realm")
        {
            return Some(Challenge::Bearer { realm, service: parameters.remove("service") });
        }
        if scheme.eq_ignore_ascii_case("basic") {
            found = Some(Challenge::Basic);
        }
    }
    found
}

/// Schemes with their parameters: a word without `=` begins a new scheme.
fn parts(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        let Some(value) = after.trim_start().strip_prefix('=') else {
            found.push((word.to_owned(), BTreeMap::new()));
            rest = after;
            continue;
        };
        let (value, after) = value_of(value.trim_start());
        if let Some((_, parameters)) = found.last_mut() {
            parameters.insert(word.to_ascii_lowercase(), value);
        }
        rest = after;
    }
}

/// A word or a quoted text, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, after) = text.split_at(text.find([' ', '\t', ',']).unwrap_or(text.len()));
        return (word.to_owned(), after);
    };
    let mut value = String::new();
    let mut is_escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if is_escaped => {
                value.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_where_the_server_says_and_a_password_shown_where_it_wants_one() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned) })
        };
        let rows: [(&[&str], Option<Challenge>); 10] = [
            (
                &[r#"Bearer realm="https://a.io/token",service="r.io",scope="repository:x:pull""#],
                bearer("https://a.io/token", Some("r.io")),
            ),
            (&[r#"bearer realm="https://a.io/t?a=1,2" , error="x""#], bearer("https://a.io/t?a=1,2", None)),
            (&[r#"Bearer service="a\"b", realm=https://a.io/t"#], bearer("https://a.io/t", Some("a\"b"))),
            (&[r#"Basic realm="x", Bearer realm="https://a.io/t""#], bearer("https://a.io/t", None)),
            (&["Negotiate", r#"Basic realm="x""#], Some(Challenge::Basic)),
            (&["Basic"], Some(Challenge::Basic)),
            (&["Negotiate abc==, Basic realm=x"], Some(Challenge::Basic)),
            (&["Bearer"], None),
            (&[r#"Bearer realm="unfinished"#], bearer("unfinished", None)),
            (&["", ",,", "="], None),
        ];
        for (texts, expected) in rows {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append(WWW_AUTHENTICATE, text.parse().expect("a header"));
            }
            assert_eq!(wanted(&headers), expected, "{texts:?}");
        }
    }
}
