//! What is read of JSON that others write.

use std::time::Duration;

use serde_json::Value;

/// A number, or as some write it, a number in quotes. Less than none is none.
pub(crate) fn seconds(value: &Value) -> Option<Duration> {
    let fraction = |seconds: f64| {
        let known = !seconds.is_nan();
        known.then(|| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
    };
    match value {
        Value::Number(number) => number.as_u64().map(Duration::from_secs).or_else(|| fraction(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().map(Duration::from_secs).or_else(|| fraction(text.parse().ok()?))
        }
        _ => None,
    }
}

/// What is wrong with it. serde's own error may quote what was read, so only the place is told.
pub(crate) fn mistake(error: &serde_json::Error) -> String {
    format!("this is not the JSON expected (line {}, column {})", error.line(), error.column())
}
