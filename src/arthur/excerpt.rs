//! A piece of what a server said that may be shown to anybody.

use std::collections::BTreeSet;

const LIMIT: usize = 200;
const REDACTED: &str = "[redacted]";

/// The first 200 characters of a body, printable, and without `secret` should the server repeat it.
///
/// The secret is also known as JSON, URLs and HTML write it. Any JWT is hidden too: it begins with the base64 of `{"`.
pub(super) fn excerpt(body: &[u8], secret: &str) -> String {
    let body = String::from_utf8_lossy(body);
    let secret: Vec<Vec<String>> = secret.chars().map(spellings).collect();
    let mut rest = &*body;
    let mut shown = String::new();
    let mut length = 0;
    while let Some(next) = rest.chars().next() {
        if length >= LIMIT {
            shown.push('…');
            break;
        }
        let hidden = after_secret(rest, &secret).or_else(|| after_jwt(rest));
        let piece = match hidden {
            Some(_) => REDACTED.to_owned(),
            None => printable(next),
        };
        rest = hidden.or_else(|| rest.get(next.len_utf8()..)).unwrap_or_default();
        length += piece.chars().count();
        shown.push_str(&piece);
    }
    shown
}

/// What follows the secret, where `text` begins with it.
fn after_secret<'a>(text: &'a str, secret: &[Vec<String>]) -> Option<&'a str> {
    // A backslash may be one character or half of one, so that all the places are kept that the text may be read to.
    let mut read_to = BTreeSet::from([0]);
    for spellings in secret {
        read_to = read_to
            .iter()
            .flat_map(|start| {
                spellings.iter().filter_map(move |spelling| {
                    let end = start + spelling.len();
                    let found = text.get(*start..end)?;
                    found.eq_ignore_ascii_case(spelling).then_some(end)
                })
            })
            .collect();
    }
    let end = read_to.last().filter(|end| **end > 0)?;
    text.get(*end..)
}

/// How a character may be written.
fn spellings(c: char) -> Vec<String> {
    let json = serde_json::to_string(&c).unwrap_or_default();
    let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    let utf16 = c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    let url = c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut all = vec![c.to_string(), json.unwrap_or_default().to_owned(), utf16, url];
    all.extend([format!("&#{};", u32::from(c)), format!("&#x{:x};", u32::from(c))]);
    let special = match c {
        ' ' => "+",
        '/' => "\\/",
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\'' => "&apos;",
        _ => return all,
    };
    all.push(special.to_owned());
    all
}

/// What follows a JWT, where `text` begins with one.
fn after_jwt(text: &str) -> Option<&str> {
    let of_jwt = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let rest = text.strip_prefix("eyJ")?;
    Some(rest.trim_start_matches(of_jwt))
}

fn printable(c: char) -> String {
    match c {
        '"' | '\'' | '\\' => c.into(),
        _ => c.escape_debug().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = r#"p"a\\ß'&/ 😀"#;

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let ascii_json = r#"p\"a\\\\\u00DF'&\/ \ud83d\ude00"#;
        for spelling in [
            SECRET,
            serde_json::to_string(SECRET).unwrap().trim_matches('"'),
            ascii_json,
            "p%22a%5C%5C%C3%9F%27%26%2F%20%F0%9F%98%80",
            "p%22a%5c%5c%c3%9f'%26/+%f0%9f%98%80",
            "p&quot;a\\\\ß&#39;&amp;/ 😀",
            "p&#34;a\\\\&#xDF;&apos;&amp;/ &#x1F600;",
        ] {
            let body = format!("<{spelling}><{spelling}>");
            assert_eq!(excerpt(body.as_bytes(), SECRET), "<[redacted]><[redacted]>", "{spelling}");
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        assert_eq!(excerpt(b"{\"error\":\"no\"}", SECRET), "{\"error\":\"no\"}");
        assert_eq!(excerpt("p\"a".as_bytes(), SECRET), "p\"a");
        assert_eq!(excerpt(b"anything", ""), "anything");
        assert_eq!(excerpt(b"", SECRET), "");
        assert_eq!(excerpt(b"\xff\xfe", SECRET), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_jwt_is_hidden() {
        assert_eq!(excerpt(b"got eyJhbGci.eyJleHA.c2ln_-0, sorry", ""), "got [redacted], sorry");
    }

    #[test]
    fn the_piece_is_bounded() {
        for body in ["a".repeat(100_000), "\u{1b}".repeat(100_000)] {
            assert!(excerpt(body.as_bytes(), "a").chars().count() <= LIMIT + REDACTED.len());
        }
    }
}
