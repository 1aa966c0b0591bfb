//! What the examples share: servers, a load, and the output.

pub mod arthur_server;
#[cfg(feature = "tls")]
pub mod arthur_server_tls;
pub mod echo;
pub mod issuer;
pub mod load;
pub mod timeline;
