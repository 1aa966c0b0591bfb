//! A piece of what a server said that may be shown to anybody.

const LIMIT: usize = 200;
const REDACTED: &str = "[redacted]";

/// The first 200 characters of a body, printable, and without `secret` should the server repeat it.
///
/// A secret is also known in JSON's clothes. So is any JWT: it begins with the base64 of `{"`.
pub(super) fn excerpt(body: &[u8], secret: &str) -> String {
    let body = String::from_utf8_lossy(body);
    let json = serde_json::to_string(secret).unwrap_or_default();
    let secrets = [secret, json.trim_matches('"')];
    let mut rest = body.trim();
    let mut shown = String::new();
    let mut length = 0;
    while let Some(next) = rest.chars().next() {
        if length >= LIMIT {
            shown.push('…');
            break;
        }
        let piece = match hidden(rest, &secrets) {
            Some(after) => {
                rest = after;
                REDACTED.to_owned()
            }
            None => {
                rest = rest.get(next.len_utf8()..).unwrap_or_default();
                printable(next)
            }
        };
        length += piece.chars().count();
        shown.push_str(&piece);
    }
    shown
}

/// What follows, where `text` begins with something to hide.
fn hidden<'a>(text: &'a str, secrets: &[&str]) -> Option<&'a str> {
    let known = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .find_map(|secret| text.strip_prefix(*secret));
    known.or_else(|| {
        let jwt = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        text.strip_prefix("eyJ")
            .map(|rest| rest.trim_start_matches(jwt))
    })
}

fn printable(c: char) -> String {
    match c {
        '"' | '\'' | '\\' => c.into(),
        _ => c.escape_debug().collect(),
    }
}
