//! The replies of the scripts. A reply can be any value, because other programs can write to the same keys.

use std::{error::Error, fmt, time::Duration};

use redis::Value;

use super::super::store::{ClaimOutcome, Record, Revision};

/// A reply that the scripts do not return for the keys of this store.
#[derive(Debug)]
pub(super) struct InvalidReply;

impl fmt::Display for InvalidReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis reply invalid")
    }
}

impl Error for InvalidReply {}

pub(super) fn record(reply: Value) -> Result<Option<Record>, InvalidReply> {
    let Value::Array(values) = reply else { return Err(InvalidReply) };
    record_of(values)
}

pub(super) fn claim(reply: Value) -> Result<ClaimOutcome, InvalidReply> {
    let Value::Array(mut values) = reply else { return Err(InvalidReply) };
    if values.is_empty() {
        return Err(InvalidReply);
    }
    let Value::BulkString(outcome) = values.remove(0) else { return Err(InvalidReply) };
    match (outcome.as_slice(), values.as_slice()) {
        (b"granted", []) => Ok(ClaimOutcome::Granted),
        (b"denied", [Value::Int(expires_in)]) => {
            Ok(ClaimOutcome::Denied { expires_in: milliseconds(*expires_in) })
        }
        (b"changed", _) => record_of(values).map(ClaimOutcome::Changed),
        _ => Err(InvalidReply),
    }
}

pub(super) fn flag(reply: Value) -> Result<bool, InvalidReply> {
    match reply {
        Value::Int(flag) => Ok(flag != 0),
        _ => Err(InvalidReply),
    }
}

fn record_of(values: Vec<Value>) -> Result<Option<Record>, InvalidReply> {
    if values.is_empty() {
        return Ok(None);
    }
    let Ok([Value::BulkString(revision), Value::BulkString(bytes), Value::Int(age)]) =
        <[Value; 3]>::try_from(values)
    else {
        return Err(InvalidReply);
    };
    let revision = revision.try_into().map_err(|_| InvalidReply)?;
    Ok(Some(Record::new(Revision::from_bytes(revision), bytes, milliseconds(age))))
}

fn milliseconds(value: i64) -> Duration {
    Duration::from_millis(value.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn array(values: impl Into<Vec<Value>>) -> Value {
        Value::Array(values.into())
    }

    #[test]
    fn reply_of_another_shape_is_an_error() {
        let revision = || Value::BulkString(vec![1; 16]);
        for reply in [
            Value::Nil,
            text("changed"),
            array([]),
            array([Value::Nil]),
            array([text("granted"), text("granted")]),
            array([text("denied")]),
            array([text("denied"), text("1")]),
            array([text("changed"), revision()]),
            array([text("changed"), text("short"), text("bytes"), Value::Int(1)]),
            array([text("changed"), revision(), Value::Nil, Value::Int(1)]),
            array([text("changed"), revision(), text("bytes"), Value::Int(1), Value::Int(1)]),
            array([text("other")]),
        ] {
            assert!(claim(reply.clone()).is_err(), "{reply:?}");
        }
        assert!(record(Value::Nil).is_err());
        assert!(flag(Value::Nil).is_err());
    }

    #[test]
    fn negative_times_are_zero() {
        let denied = claim(array([text("denied"), Value::Int(-1)])).unwrap();
        assert_eq!(denied, ClaimOutcome::Denied { expires_in: Duration::ZERO });
        let values = [Value::BulkString(vec![1; 16]), text("bytes"), Value::Int(-1)];
        assert_eq!(record(array(values)).unwrap().unwrap().age, Duration::ZERO);
    }
}
