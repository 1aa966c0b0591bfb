//! What one layer does with requests: everything it was told, in one place.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::AUTHORIZATION};

use super::{NeverReplay, Unauthorized, UnsafeDestination, destination::Destinations};

/// The settings of one layer. A clone costs little.
#[derive(Clone, Debug)]
pub(crate) struct Rules<P, C> {
    pub(crate) destinations: Destinations,
    pub(crate) header: HeaderName,
    pub(crate) keep_existing: bool,
    pub(crate) tell: bool,
    pub(crate) replay: P,
    pub(crate) classify: C,
}

/// Whether a request gets a token.
pub(crate) enum Verdict {
    Authorize,
    /// It goes out as it is.
    PassOn,
    /// It does not go out.
    Refuse(UnsafeDestination),
}

impl Default for Rules<NeverReplay, Unauthorized> {
    fn default() -> Self {
        Self {
            destinations: Destinations::default(),
            header: AUTHORIZATION,
            keep_existing: false,
            tell: false,
            replay: NeverReplay,
            classify: Unauthorized,
        }
    }
}

impl<P, C> Rules<P, C> {
    #[inline]
    pub(crate) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Verdict {
        if self.keep_existing && headers.contains_key(&self.header) {
            return Verdict::PassOn;
        }
        match self.destinations.check(uri) {
            Ok(()) => Verdict::Authorize,
            Err(_) if self.destinations.pass_on => Verdict::PassOn,
            Err(why) => Verdict::Refuse(why),
        }
    }

    #[inline]
    pub(crate) fn put(&self, headers: &mut HeaderMap, value: &HeaderValue) {
        headers.insert(&self.header, value.clone());
    }

    pub(crate) fn with_replay<Q>(self, replay: Q) -> Rules<Q, C> {
        let Self { destinations, header, keep_existing, tell, replay: _, classify } = self;
        Rules { destinations, header, keep_existing, tell, replay, classify }
    }

    pub(crate) fn with_classify<D>(self, classify: D) -> Rules<P, D> {
        let Self { destinations, header, keep_existing, tell, replay, classify: _ } = self;
        Rules { destinations, header, keep_existing, tell, replay, classify }
    }
}
