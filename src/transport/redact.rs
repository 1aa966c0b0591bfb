//! A piece of what a server said that may be shown to anybody.

use std::collections::BTreeSet;

const LIMIT: usize = 200;
const REDACTED: &str = "[redacted]";
/// How many backslashes may stand for one: three rounds of escaping, each of which doubles them.
const BACKSLASHES: usize = 8;

/// The first 200 characters of a body, printable, and without `secrets` should the server repeat them.
///
/// A secret is also known as JSON, URLs, HTML and the byte and character strings of programming languages write it,
/// and where such a text was escaped again. Any JWT is hidden too: it begins with the base64 of `{"`.
pub(crate) fn redact(body: &[u8], secrets: &[&str]) -> String {
    let body = String::from_utf8_lossy(body);
    let secrets: Vec<Vec<_>> = secrets.iter().map(|secret| secret.chars().map(spellings).collect()).collect();
    let mut rest = &*body;
    let mut shown = String::new();
    let mut length = 0;
    while let Some(next) = rest.chars().next() {
        if length >= LIMIT {
            shown.push('…');
            break;
        }
        // The longest: one secret may begin with another.
        let found = secrets.iter().filter_map(|secret| after_secret(rest, secret)).min_by_key(|rest| rest.len());
        let hidden = found.or_else(|| after_jwt(rest));
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
        read_to = spellings.iter().flat_map(|spelling| ends(text, &read_to, spelling)).collect();
        if read_to.is_empty() {
            return None;
        }
    }
    let end = read_to.last().filter(|end| **end > 0)?;
    text.get(*end..)
}

/// Where `spelling` may end that begins at one of `starts`.
fn ends(text: &str, starts: &BTreeSet<usize>, spelling: &str) -> BTreeSet<usize> {
    spelling.chars().fold(starts.clone(), |starts, c| {
        let mut ends = BTreeSet::new();
        for start in starts {
            let rest = text.get(start..).unwrap_or_default();
            if c == '\\' {
                let run = rest.bytes().take(BACKSLASHES).take_while(|byte| *byte == b'\\').count();
                ends.extend((1..=run).map(|length| start + length));
            } else if let Some(found) = rest.chars().next().filter(|found| found.eq_ignore_ascii_case(&c)) {
                ends.insert(start + found.len_utf8());
            }
        }
        ends
    })
}

/// How a character may be written. A backslash stands for several too, as where a text was escaped again.
fn spellings(c: char) -> Vec<String> {
    let code = u32::from(c);
    let each_byte = |write: fn(u8) -> String| c.encode_utf8(&mut [0; 4]).bytes().map(write).collect::<String>();
    let mut all = vec![
        c.to_string(),
        c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        format!("\\u{{{code:x}}}"),
        format!("\\U{code:08x}"),
        format!("\\x{code:02x}"),
        each_byte(|byte| format!("\\x{byte:02x}")),
        each_byte(|byte| format!("\\{byte:03o}")),
        each_byte(|byte| format!("%{byte:02x}")),
        format!("&#{code};"),
        format!("&#x{code:x};"),
    ];
    let special: &[&str] = match c {
        ' ' => &["+"],
        '/' => &["\\/"],
        '&' => &["&amp;"],
        '<' => &["&lt;"],
        '>' => &["&gt;"],
        '"' => &["\\\"", "&quot;"],
        '\'' => &["\\'", "&apos;"],
        '\n' => &["\\n"],
        '\r' => &["\\r"],
        '\t' => &["\\t"],
        '\u{8}' => &["\\b"],
        '\u{c}' => &["\\f"],
        '\0' => &["\\0"],
        // What is left of a character whose bytes were no UTF-8.
        _ if !c.is_ascii() => &["\u{fffd}"],
        _ => &[],
    };
    all.extend(special.iter().map(|special| (*special).to_owned()));
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
            assert_eq!(redact(body.as_bytes(), &[SECRET]), "<[redacted]><[redacted]>", "{spelling}");
        }
    }

    #[test]
    fn a_secret_is_hidden_as_byte_and_character_strings_write_it() {
        let bytes = SECRET.as_bytes();
        for spelling in [
            bytes.escape_ascii().to_string(),
            format!("{:?}", bytes::Bytes::from_static(bytes)).trim_matches(['b', '"']).to_owned(),
            bytes.iter().map(|byte| format!("\\x{byte:02X}")).collect(),
            bytes.iter().map(|byte| format!("\\{byte:03o}")).collect(),
            SECRET.escape_default().to_string(),
            SECRET.escape_unicode().to_string(),
            r#"p"a\\\\\xdf\'&/ \U0001f600"#.to_owned(),
        ] {
            let body = format!("<{spelling}><{spelling}>");
            assert_eq!(redact(body.as_bytes(), &[SECRET]), "<[redacted]><[redacted]>", "{spelling}");
        }
    }

    #[test]
    fn a_secret_is_hidden_where_it_was_escaped_again() {
        let mut spelling = SECRET.to_owned();
        for _ in 0..3 {
            let json = serde_json::to_string(&spelling).unwrap();
            let shown = redact(json.as_bytes(), &[SECRET]);
            assert!(!shown.contains('a') || shown == "\"[redacted]\"", "{json}: {shown}");
            let bytes = format!("{:?}", bytes::Bytes::from(spelling));
            assert_eq!(redact(bytes.as_bytes(), &[SECRET]), "b\"[redacted]\"", "{bytes}");
            spelling = json.strip_prefix('"').unwrap().strip_suffix('"').unwrap().to_owned();
        }
    }

    #[test]
    fn many_backslashes_do_not_take_for_ever() {
        let body = "\\".repeat(1_000_000);
        assert!(redact(body.as_bytes(), &[&"\\".repeat(16)]).starts_with(REDACTED));
    }

    #[test]
    fn each_of_several_secrets_is_hidden() {
        assert_eq!(redact(b"one, two, three", &["three", "one"]), "[redacted], two, [redacted]");
        assert_eq!(redact(b"one-two", &["one", "one-two"]), "[redacted]", "though one begins with the other");
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        assert_eq!(redact(b"{\"error\":\"no\"}", &[SECRET]), "{\"error\":\"no\"}");
        assert_eq!(redact("p\"a".as_bytes(), &[SECRET]), "p\"a");
        assert_eq!(redact(b"anything", &["", SECRET]), "anything");
        assert_eq!(redact(b"", &[SECRET]), "");
        assert_eq!(redact(b"\xff\xfe", &[SECRET]), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_jwt_is_hidden() {
        assert_eq!(redact(b"got eyJhbGci.eyJleHA.c2ln_-0, sorry", &[]), "got [redacted], sorry");
    }

    #[test]
    fn the_piece_is_bounded() {
        for body in ["a".repeat(100_000), "\u{1b}".repeat(100_000)] {
            assert!(redact(body.as_bytes(), &["a"]).chars().count() <= LIMIT + REDACTED.len());
        }
    }
}
