//! A request on its way: which token it carries, and what is to be done if that is rejected.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::WWW_AUTHENTICATE};

use super::{ClassifyRejection, MinTokenLife, ReplayPolicy, TokenInfo, rules::Rules};
use crate::{
    AuthRefresher,
    refresh::{Lease, Mark, TokenFuture},
};

/// What a call remembers until its response comes, if it is to do more than to tell of a rejection.
pub(crate) struct Sent<S, B, P: ReplayPolicy<B>, C> {
    mark: Mark,
    classify: C,
    tell: Option<TokenInfo>,
    kept: Option<Kept<S, B, P>>,
}

/// A request that can be sent once more, and the service to send it by.
struct Kept<S, B, P: ReplayPolicy<B>> {
    refresher: AuthRefresher,
    inner: S,
    request: P::Kept,
    header: HeaderName,
    token: Option<HeaderValue>,
    min_life: Option<MinTokenLife>,
}

/// What a response comes to.
pub(crate) enum Outcome<S, B, P: ReplayPolicy<B>, C, T> {
    /// It is for the caller.
    Final(T),
    /// The token was rejected, and a newer one is there or will be.
    Replay { token: TokenFuture, original: T, rejected: Sent<S, B, P, C> },
}

/// A request to be sent once more.
pub(crate) struct Again<S, B, P: ReplayPolicy<B>, C> {
    pub(crate) inner: S,
    pub(crate) request: Request<P::Body>,
    pub(crate) sent: Sent<S, B, P, C>,
}

impl<S: Clone, B, P: ReplayPolicy<B>, C: Clone> Sent<S, B, P, C> {
    /// Puts this token on the request, and keeps what a replay will need.
    pub(crate) fn new(
        mut request: Request<B>,
        lease: &Lease,
        refresher: &AuthRefresher,
        rules: &Rules<P, C>,
        inner: &S,
    ) -> (Request<P::Body>, Self) {
        rules.placement.put(request.headers_mut(), lease.header.mine().1);
        let mark = refresher.mark(lease);
        let (request, kept) = rules.replay.keep(request);
        let sent = match kept {
            Some(kept) => Self::keeping(kept, &request, mark, refresher, rules, inner),
            None => Self { mark, classify: rules.classify.clone(), tell: None, kept: None },
        };
        (request, Self { tell: rules.tell.then(|| TokenInfo::of(lease)), ..sent })
    }

    /// A request has its token, and is kept.
    pub(crate) fn keeping(
        kept: P::Kept,
        request: &Request<P::Body>,
        mark: Mark,
        refresher: &AuthRefresher,
        rules: &Rules<P, C>,
        inner: &S,
    ) -> Self {
        let header = rules.placement.header();
        let kept = Kept {
            refresher: refresher.clone(),
            inner: inner.clone(),
            request: kept,
            token: request.headers().get(&header).cloned(),
            header,
            min_life: MinTokenLife::of(request.extensions()),
        };
        Self { mark, classify: rules.classify.clone(), tell: None, kept: Some(kept) }
    }
}

/// Tells of a rejection, if the response is one. Says whether there is a newer token, or will be.
#[inline]
pub(crate) fn tell_rejection<R>(mark: Mark, classify: &impl ClassifyRejection, response: &Response<R>) -> bool {
    #[cold]
    fn rejected(mark: Mark, headers: &HeaderMap) -> bool {
        mark.reject(challenge(headers))
    }
    classify.is_rejection(response.status(), response.headers()) && rejected(mark, response.headers())
}

impl<S, B, P: ReplayPolicy<B>, C: ClassifyRejection> Sent<S, B, P, C> {
    /// Takes in the response, and its token's rejection if it is one.
    pub(crate) fn conclude<R>(self, mut response: Response<R>) -> Outcome<S, B, P, C, Response<R>> {
        if let Some(told) = self.tell {
            response.extensions_mut().insert(told);
        }
        let newer = tell_rejection(self.mark, &self.classify, &response);
        match &self.kept {
            Some(kept) if newer => {
                let token = match kept.min_life {
                    Some(MinTokenLife(life)) => kept.refresher.wait_for(life),
                    None => kept.refresher.wait(),
                };
                Outcome::Replay { token, original: response, rejected: self }
            }
            _ => Outcome::Final(response),
        }
    }

    /// The request with the newer token; `None` if it cannot be sent again, or the token is the one that was rejected.
    pub(crate) fn replay(self, lease: &Lease) -> Option<Again<S, B, P, C>> {
        let Kept { refresher, inner, request, header, token, .. } = self.kept?;
        let (_, newer) = lease.header.mine();
        if token.as_ref() == Some(newer) {
            return None;
        }
        let mut request = P::again(request)?;
        *request.headers_mut().get_mut(&header)? = newer.clone();
        refresher.events().replayed();
        // This is the last time: nothing is kept.
        let tell = self.tell.map(|_| TokenInfo::of(lease));
        Some(Again { inner, request, sent: Sent { mark: refresher.mark(lease), tell, kept: None, ..self } })
    }
}

/// All challenges of a response: a list field may be several, and means the same as one (RFC 9110, section 5.3).
fn challenge(headers: &HeaderMap) -> Option<HeaderValue> {
    let all: Vec<&[u8]> = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes).collect();
    if all.is_empty() { None } else { HeaderValue::from_bytes(&all.join(&b", "[..])).ok() }
}
