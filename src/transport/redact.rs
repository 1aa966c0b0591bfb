//! [`redact`]: the part of a text that can be shown without showing a secret.

use std::borrow::Cow;

use serde_json::{Map, Value};

const LIMIT: usize = 200;
const REDACTED: &str = "[redacted]";

/// Returns the first 200 characters of a text or a response body, printable and without `secrets`.
///
/// * Of a JSON object with an `error`, an `error_description` or a `message`, only these are shown.
/// * A secret is replaced as it is, in upper or lower case, and as JSON and forms encode it. So is any JWT.
/// * If the rest contains an escape sequence of any kind, all of it is hidden: it could be a secret in an encoding that
///   is not known here.
pub(crate) fn redact(text: &[u8], secrets: &[&str]) -> String {
    let text = String::from_utf8_lossy(text);
    let text = error_fields(&text).map_or(text, Cow::Owned);
    let secrets: Vec<&str> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
    let text = replace(&text, &secrets);
    if can_contain_encoded(&text, &secrets) {
        return REDACTED.to_owned();
    }
    let mut shown: String = text.chars().flat_map(printable).take(LIMIT + 1).collect();
    if let Some((end, _)) = shown.char_indices().nth(LIMIT) {
        shown.replace_range(end.., "…");
    }
    shown
}

fn error_fields(text: &str) -> Option<String> {
    let object: Map<String, Value> = serde_json::from_str(text).ok()?;
    let fields = ["error", "error_description", "message"].into_iter();
    let texts: Vec<&str> = fields.filter_map(|name| object.get(name)?.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join(": "))
}

/// Replaces the secrets and their encodings, and each JWT.
fn replace(text: &str, secrets: &[&str]) -> String {
    let encodings: Vec<String> = secrets.iter().flat_map(|secret| encodings(secret)).collect();
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        // The longest, because one secret can be the start of another.
        let found = encodings
            .iter()
            .filter_map(|encoding| strip_prefix(rest, encoding))
            .min_by_key(|rest| rest.len());
        if let Some(after) = found.or_else(|| strip_jwt(rest)) {
            replaced.push_str(REDACTED);
            rest = after;
        } else {
            replaced.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }
    replaced
}

fn encodings(secret: &str) -> [String; 3] {
    let json = Value::from(secret).to_string();
    let json =
        json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(secret).to_owned();
    let form = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    [secret.to_owned(), json, form]
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// A JWT starts with the base64 of `{"` (RFC 7519, section 3.1).
fn strip_jwt(text: &str) -> Option<&str> {
    let is_of_jwt = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    Some(text.strip_prefix("eyJ")?.trim_start_matches(is_of_jwt))
}

/// Returns whether a text contains what can be one of the secrets in another encoding: an escape sequence, a `+` for a
/// space, or characters beyond ASCII, which may have been decoded wrongly.
fn can_contain_encoded(text: &str, secrets: &[&str]) -> bool {
    let has_space = secrets.iter().any(|secret| secret.contains(' '));
    let is_ascii = secrets.iter().all(|secret| secret.is_ascii());
    let starts_escape = |(at, c): (usize, char)| {
        let mut rest = text.bytes().skip(at + c.len_utf8());
        match c {
            '\\' => true,
            '%' => rest.by_ref().take(2).filter(u8::is_ascii_hexdigit).count() == 2,
            '&' => rest.next().is_some_and(|next| next == b'#' || next.is_ascii_alphanumeric()),
            '+' => has_space,
            c => !is_ascii && (is_letter_beyond_ascii(c) || c == char::REPLACEMENT_CHARACTER),
        }
    };
    !secrets.is_empty() && text.char_indices().any(starts_escape)
}

/// A letter, or a mark that forms one with the letter before it.
fn is_letter_beyond_ascii(c: char) -> bool {
    !c.is_ascii() && c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}')
}

/// Escapes what is not printable.
fn printable(c: char) -> impl Iterator<Item = char> {
    let is_plain = matches!(c, '"' | '\'' | '\\');
    is_plain.then_some(c).into_iter().chain(c.escape_debug().filter(move |_| !is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = r#"p"a\\ß'&/ 😀"#;

    /// Asserts that nothing between `<` and `>` is shown.
    #[track_caller]
    fn assert_hidden(body: &str) {
        let shown = redact(body.as_bytes(), &[SECRET]);
        let expected = [REDACTED, "<[redacted]><[redacted]>", "\"[redacted]\""];
        assert!(expected.contains(&&*shown), "{body}: {shown}");
    }

    #[test]
    fn secret_is_hidden_however_it_is_written() {
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
            assert_hidden(&body);
        }
    }

    #[test]
    fn secret_in_byte_or_character_string_is_hidden() {
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
            assert_hidden(&body);
        }
    }

    #[test]
    fn secret_escaped_again_is_hidden() {
        let mut spelling = SECRET.to_owned();
        for _ in 0..3 {
            let json = serde_json::to_string(&spelling).unwrap();
            assert_hidden(&json);
            assert_hidden(&format!("{:?}", bytes::Bytes::from(spelling)));
            spelling = json.strip_prefix('"').unwrap().strip_suffix('"').unwrap().to_owned();
        }
    }

    #[test]
    fn secret_in_json_or_form_is_cut_out() {
        let json = serde_json::to_string(SECRET).unwrap();
        let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        for body in [format!("a {json} b"), format!("a \"{form}\" b"), format!("a \"{SECRET}\" b")]
        {
            assert_eq!(redact(body.as_bytes(), &[SECRET]), "a \"[redacted]\" b", "{body}");
        }
    }

    #[test]
    fn secret_with_space_or_letter_beyond_ascii_is_hidden() {
        assert_eq!(redact(b"a+b!", &["a b!"]), REDACTED);
        assert_eq!(redact(b"p\xe4ssword", &["p\u{e4}ssword"]), REDACTED, "ISO 8859-1");
        assert_eq!(
            redact("p\u{c3}\u{a4}ssword".as_bytes(), &["p\u{e4}ssword"]),
            REDACTED,
            "decoded as ISO 8859-1"
        );
        assert_eq!(
            redact("pa\u{308}ssword".as_bytes(), &["p\u{e4}ssword"]),
            REDACTED,
            "decomposed"
        );
    }

    #[test]
    fn text_with_escape_sequence_is_hidden_unless_no_secret_was_sent() {
        for text in ["a\\b", "a%41", "a&#65;", "a&amp;b"] {
            assert_eq!(redact(text.as_bytes(), &["s3cr3t"]), REDACTED, "{text}");
            assert_eq!(redact(text.as_bytes(), &[]), text);
        }
        for text in ["100% of a & b", "a+b", "Ung\u{fc}ltig"] {
            assert_eq!(redact(text.as_bytes(), &["s3cr3t"]), text);
        }
    }

    #[test]
    fn json_error_shows_its_own_fields() {
        let body = br#"{"error":"no","error_description":"it\u2019s \"s3cr3t\"","token":"t"}"#;
        assert_eq!(redact(body, &["s3cr3t"]), "no: it\u{2019}s \"[redacted]\"");
        assert_eq!(redact(br#"{"message":"a\/b"}"#, &["s3cr3t"]), "a/b");
        assert_eq!(redact(br#"{"code":7}"#, &["s3cr3t"]), r#"{"code":7}"#);
    }

    #[test]
    fn many_backslashes_take_linear_time() {
        let body = "\\".repeat(1_000_000);
        assert!(redact(body.as_bytes(), &[&"\\".repeat(16)]).starts_with(REDACTED));
    }

    #[test]
    fn each_of_several_secrets_is_hidden() {
        assert_eq!(redact(b"one, two, three", &["three", "one"]), "[redacted], two, [redacted]");
        assert_eq!(
            redact(b"one-two", &["one", "one-two"]),
            "[redacted]",
            "one is the start of the other"
        );
    }

    #[test]
    fn text_without_secret_is_shown() {
        assert_eq!(redact("p\"a".as_bytes(), &[SECRET]), "p\"a");
        assert_eq!(redact(b"anything", &["", SECRET]), "anything");
        assert_eq!(redact(b"", &[SECRET]), "");
        assert_eq!(redact(b"\xff\xfe", &["s3cr3t"]), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn jwt_is_hidden() {
        assert_eq!(redact(b"got eyJhbGci.eyJleHA.c2ln_-0, sorry", &[]), "got [redacted], sorry");
    }

    #[test]
    fn length_is_bounded() {
        for body in ["a".repeat(100_000), "\u{1b}".repeat(100_000)] {
            assert!(redact(body.as_bytes(), &["a"]).chars().count() <= LIMIT + REDACTED.len());
        }
    }
}
