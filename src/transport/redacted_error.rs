//! [`RedactedError`]: what may be told of the errors beneath an exchange.

use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind},
    iter::successors,
};

use super::redact::redact;

/// How many causes are kept.
const DEPTH: usize = 8;

/// The text of an error and those of its causes, without secrets. The errors themselves are let go: their text, their
/// `Debug` or a cause of theirs may repeat what was sent.
pub(crate) struct RedactedError {
    text: String,
    next: Option<Box<Self>>,
}

impl RedactedError {
    pub(crate) fn of(error: &(dyn Error + 'static), secrets: &[&str]) -> Option<Box<Self>> {
        let texts: Vec<String> = causes(error)
            .filter(|error| wrapped(*error).is_none())
            .take(DEPTH)
            .map(|error| shown(error, secrets))
            .collect();
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

/// An error and its causes. An `io::Error` passes for the error it wraps, so that `source` alone would skip that one.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error: &&'a (dyn Error + 'static)| wrapped(error).or_else(|| error.source()))
}

fn wrapped<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(wrapped as _)
}

/// What an error says, without `secrets`. A text that owes nothing to the server is not searched, since a short or common
/// secret would only garble it.
pub(crate) fn shown(error: &(dyn Error + 'static), secrets: &[&str]) -> String {
    let text = error.to_string();
    let secrets = if is_local(error) { &[] } else { secrets };
    redact(text.as_bytes(), secrets)
}

fn is_local(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "http-client")]
    if is_local_to_client(error) {
        return true;
    }
    let of_the_system = |error: &io::Error| error.get_ref().is_none() && error.kind() != ErrorKind::Other;
    error.downcast_ref::<io::Error>().is_some_and(of_the_system)
}

#[cfg(feature = "http-client")]
fn is_local_to_client(error: &(dyn Error + 'static)) -> bool {
    use rustls::{CertificateError, Error};
    match error.downcast_ref::<Error>() {
        // These tell what the certificate holds.
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForNameContext { .. }
            | CertificateError::InvalidPurposeContext { .. }
            | CertificateError::Other(_),
        )) => false,
        Some(Error::InvalidCertificate(_)) => true,
        Some(_) => false,
        // Their own text is one of a few, and the rest is in their causes.
        None => {
            error.is::<hyper::Error>()
                || error.is::<hyper_util::client::legacy::Error>()
                || error.is::<crate::http_client::DnsError>()
        }
    }
}
