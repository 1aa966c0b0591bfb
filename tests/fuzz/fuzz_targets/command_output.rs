//! The reader of what a command prints: no input makes it panic, no error shows the output, and no later expiry wins.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use tower_auth_refresh::{Expiry, sources::CommandFormat};

const SECRET: &str = "a-secret-to-look-for";
const FORMATS: [CommandFormat; 3] =
    [CommandFormat::Token, CommandFormat::Json, CommandFormat::ExecCredential];
const NAMES: [&str; 11] = [
    "access_token",
    "accessToken",
    "token",
    "expires_in",
    "expires_at",
    "expires_on",
    "expiresOn",
    "expiry",
    "token_expiry",
    "expirationTimestamp",
    "token_type",
];
const VALUES: [&str; 16] = [
    "null",
    "true",
    "7",
    "-1",
    "1e999",
    "0.5",
    "253402300800",
    "[]",
    "{}",
    r#""""#,
    r#""3600""#,
    r#""0001-01-01T00:00:00Z""#,
    r#""2030-01-01T00:00:00.123+02:00""#,
    r#""2030-01-01 00:00:00.000000""#,
    r#""\ud800""#,
    r#""eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjEwMDAsImV4cCI6NDYwMH0.c2ln""#,
];

fuzz_target!(|input: (u8, u8, Vec<(u8, u8, &str)>, &[u8])| {
    let (format, shape, fields, raw) = input;
    let format = FORMATS[usize::from(format) % FORMATS.len()];
    let field = |&(name, value, text): &(u8, u8, &str)| {
        let name = NAMES[usize::from(name) % NAMES.len()];
        let own = || serde_json::to_string(text).expect("a string");
        let value = VALUES.get(usize::from(value) % (VALUES.len() + 1));
        format!(r#""{name}":{}"#, value.map_or_else(own, |value| (*value).to_owned()))
    };
    let mut fields: Vec<_> = fields.iter().map(field).collect();
    fields.push(format!(r#""access_token":"{SECRET}","token":"{SECRET}""#));
    let fields = fields.join(",");
    let output = match shape % 5 {
        0 => format!("{{{fields}}}"),
        1 => format!(r#"{{"credential":{{{fields}}}}}"#),
        2 => format!(r#"{{"status":{{{fields}}}}}"#),
        3 => format!("\u{feff}{{{fields}"),
        _ => String::from_utf8_lossy(raw).into_owned(),
    };
    match format.read_output(output.as_bytes()) {
        Err(error) => assert!(!error.contains(SECRET), "{error}"),
        Ok(token) => {
            assert!(!format!("{token:?}").contains(SECRET));
            assert!(token.header_value().is_sensitive());
            if let Expiry::At(time) = token.expiry() {
                let year_10000 = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
                assert!(time < year_10000);
            }
        }
    }
});
