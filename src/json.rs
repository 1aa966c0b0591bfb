//! Reads JSON that other programs write.

use std::time::Duration;

use serde_json::Value;

/// Reads a number of seconds, which some servers write in quotes. A negative number is zero.
pub(crate) fn seconds(value: &Value) -> Option<Duration> {
    let fraction = |seconds: f64| {
        let known = !seconds.is_nan();
        known.then(|| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
    };
    match value {
        Value::Number(number) => {
            number.as_u64().map(Duration::from_secs).or_else(|| fraction(number.as_f64()?))
        }
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().map(Duration::from_secs).or_else(|| fraction(text.parse().ok()?))
        }
        _ => None,
    }
}

/// Describes an error by its position only, because serde's error can quote the input.
pub(crate) fn describe_position(error: &serde_json::Error) -> String {
    format!("not the expected JSON (line {}, column {})", error.line(), error.column())
}
