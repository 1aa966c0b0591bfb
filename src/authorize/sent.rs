//! A request on its way: which token it carries, and what is to be done if that is rejected.

use std::mem;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::WWW_AUTHENTICATE, request::Parts};

use super::{ClassifyRejection, MinTokenLife, ReplayPolicy, TokenInfo, rules::Rules};
use crate::{
    AuthRefresher,
    refresh::{Lease, TokenFuture},
};

/// What a call remembers until its response comes.
pub(crate) struct Sent<S, B, P: ReplayPolicy<B>, C> {
    refresher: AuthRefresher,
    generation: u64,
    classify: C,
    kept: Option<Box<Kept<S, B, P>>>,
    tell: Option<Box<TokenInfo>>,
}

/// A request that can be sent once more, and the service to send it by.
pub(crate) struct Kept<S, B, P: ReplayPolicy<B>> {
    inner: S,
    head: Parts,
    body: P::Kept,
    header: HeaderName,
}

/// What a response comes to.
pub(crate) enum Outcome<S, B, P: ReplayPolicy<B>, C, T> {
    /// It is for the caller.
    Final(T),
    /// The token was rejected, and a newer one is there or will be.
    Replay { token: TokenFuture, original: T, rejected: Sent<S, B, P, C>, kept: Box<Kept<S, B, P>> },
}

/// A request to be sent once more.
pub(crate) struct Again<S, B, P: ReplayPolicy<B>, C> {
    pub(crate) inner: S,
    pub(crate) request: Request<P::Body>,
    pub(crate) sent: Sent<S, B, P, C>,
}

/// Puts the token on the request, and keeps what a replay will need.
#[inline]
pub(crate) fn authorize<S: Clone, B, P: ReplayPolicy<B>, C: Clone>(
    mut request: Request<B>,
    lease: &Lease,
    refresher: &AuthRefresher,
    rules: &Rules<P, C>,
    inner: &S,
) -> (Request<P::Body>, Sent<S, B, P, C>) {
    rules.put(request.headers_mut(), lease.token.header_value());
    let (head, body) = request.into_parts();
    let (body, kept) = rules.replay.keep(body);
    let kept = kept
        .map(|body| Box::new(Kept { inner: inner.clone(), head: head.clone(), body, header: rules.header.clone() }));
    let tell = rules.tell.then(|| Box::new(TokenInfo::of(lease)));
    let sent = Sent {
        refresher: refresher.clone(),
        generation: lease.generation,
        classify: rules.classify.clone(),
        kept,
        tell,
    };
    (Request::from_parts(head, body), sent)
}

impl<S, B, P: ReplayPolicy<B>, C: ClassifyRejection> Sent<S, B, P, C> {
    /// Takes in the response, and its token's rejection if it is one.
    #[inline]
    pub(crate) fn conclude<R>(self, mut response: Response<R>) -> Outcome<S, B, P, C, Response<R>> {
        if let Some(told) = &self.tell {
            response.extensions_mut().insert(**told);
        }
        if !self.classify.is_rejection(response.status(), response.headers()) {
            return Outcome::Final(response);
        }
        self.rejected(response)
    }

    #[cold]
    fn rejected<R>(mut self, response: Response<R>) -> Outcome<S, B, P, C, Response<R>> {
        let newer = self.refresher.reject(self.generation, challenge(response.headers()));
        match self.kept.take() {
            Some(kept) if newer => {
                let token = match kept.head.extensions.get() {
                    Some(MinTokenLife(life)) => self.refresher.wait_for(*life),
                    None => self.refresher.wait(),
                };
                Outcome::Replay { token, original: response, rejected: self, kept }
            }
            _ => Outcome::Final(response),
        }
    }

    /// The same for the request sent once more, which is the last time.
    fn again(self, lease: &Lease) -> Self {
        let tell = self.tell.is_some().then(|| Box::new(TokenInfo::of(lease)));
        Self { generation: lease.generation, kept: None, tell, ..self }
    }
}

/// All challenges of a response: a list field may be several, and means the same as one (RFC 9110, section 5.3).
fn challenge(headers: &HeaderMap) -> Option<HeaderValue> {
    let all: Vec<&[u8]> = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes).collect();
    if all.is_empty() { None } else { HeaderValue::from_bytes(&all.join(&b", "[..])).ok() }
}

impl<S, B, P: ReplayPolicy<B>> Kept<S, B, P> {
    /// The request with the newer token; `None` if it cannot be sent again, or the token is the one that was rejected.
    pub(crate) fn replay<C: ClassifyRejection>(
        self,
        lease: &Lease,
        rejected: Sent<S, B, P, C>,
    ) -> Option<Again<S, B, P, C>> {
        let Self { inner, mut head, body, header } = self;
        let newer: &HeaderValue = lease.token.header_value();
        let old = mem::replace(head.headers.get_mut(&header)?, newer.clone());
        if old == *newer {
            return None;
        }
        let body = P::again(body)?;
        Some(Again { inner, request: Request::from_parts(head, body), sent: rejected.again(lease) })
    }
}
