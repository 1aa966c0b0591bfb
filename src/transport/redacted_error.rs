//! [`RedactedError`]: the texts of an error and of its causes, without secrets.

use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind},
};

use super::redact::redact;
use crate::error::shown_chain;

/// How many causes are kept.
const DEPTH: usize = 8;

/// The text of an error, and the next cause.
///
/// The errors themselves are dropped: their `Debug` or one of their causes can repeat what was sent.
pub(crate) struct RedactedError {
    text: String,
    next: Option<Box<Self>>,
}

impl RedactedError {
    /// Returns the texts that `outer` does not contain: the text of the error before them.
    pub(crate) fn of(
        error: &(dyn Error + 'static),
        secrets: &[&str],
        outer: &str,
    ) -> Option<Box<Self>> {
        let texts = shown_chain(error).take(DEPTH).map(|error| redacted(error, secrets));
        let texts: Vec<String> = texts.filter(|text| !outer.contains(&**text)).collect();
        texts.into_iter().rev().fold(None, |next, text| Some(Box::new(Self { text, next })))
    }
}

impl fmt::Display for RedactedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RedactedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedactedError").field(&self.text).finish()
    }
}

impl Error for RedactedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.next.as_deref().map(|next| next as _)
    }
}

/// Returns the text of an error without secrets.
///
/// A text without input from the server is not searched, because a short or common secret would make it unreadable.
pub(crate) fn redacted(error: &(dyn Error + 'static), secrets: &[&str]) -> String {
    // The text of an HTTP/2 error contains data of the server. Its reason is one of a few fixed texts.
    #[cfg(feature = "http-client")]
    if let Some(reason) = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
        return reason.description().to_owned();
    }
    let text = error.to_string();
    let secrets = if is_local(error) { &[] } else { secrets };
    redact(text.as_bytes(), secrets)
}

fn is_local(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "http-client")]
    if is_local_to_client(error) {
        return true;
    }
    let is_of_system =
        |error: &io::Error| error.get_ref().is_none() && error.kind() != ErrorKind::Other;
    error.downcast_ref::<io::Error>().is_some_and(is_of_system)
}

#[cfg(feature = "http-client")]
fn is_local_to_client(error: &(dyn Error + 'static)) -> bool {
    use rustls::{CertificateError, Error};
    match error.downcast_ref::<Error>() {
        // These show the contents of the certificate.
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForNameContext { .. }
            | CertificateError::InvalidPurposeContext { .. }
            | CertificateError::Other(_),
        )) => false,
        Some(Error::InvalidCertificate(_)) => true,
        Some(_) => false,
        // The texts of these are fixed. Everything else is in their causes.
        None => {
            error.is::<hyper::Error>()
                || error.is::<hyper_util::client::legacy::Error>()
                || error.is::<crate::http_client::DnsError>()
        }
    }
}
