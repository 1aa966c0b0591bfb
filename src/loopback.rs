//! [`is_loopback`]: a request to the loopback crosses no network.

use std::net::IpAddr;

/// Returns whether the host is a loopback address, or `localhost`.
///
/// Its subdomains do not count, although they are the loopback by RFC 6761, section 6.3: many resolvers query the
/// network for them. The same applies to a name or an address with a trailing dot.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
