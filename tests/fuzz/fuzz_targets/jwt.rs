//! The reader of a JWT's expiry: no input makes it panic, and no end it tells overflows what is made of it.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use tower_auth_refresh::Expiry;

fuzz_target!(|input: (&[u8], Option<u32>, u32)| {
    let (jwt, server_time, now) = input;
    let at = |seconds: u32| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
    match Expiry::from_jwt(jwt, server_time.map(at), at(now)) {
        Expiry::In(left) => assert!(left <= Duration::from_secs(253_402_300_799)),
        Expiry::At(end) => assert!(end >= SystemTime::UNIX_EPOCH),
        _ => {}
    }
});
