//! Which hosts are this machine: what goes there crosses no network.

use std::net::IpAddr;

/// A loopback address, or `localhost`. Its subdomains are the loopback too by RFC 6761, section 6.3, but many a resolver
/// asks the network for them, and for a name or an address with a dot at its end.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
