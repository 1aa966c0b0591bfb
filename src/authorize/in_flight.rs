//! [`InFlight`]: a request on its way that may be replayed, or whose response tells of its token.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::WWW_AUTHENTICATE};

use super::{
    classify::ClassifyRejection,
    config::Config,
    extensions::{TokenInfo, TokenValidFor},
    replay::policy::ReplayPolicy,
};
use crate::{
    AuthRefresher,
    refresh::{self, CachedToken, TokenFuture, TokenId},
};

/// What a call on the slow path remembers until its response arrives.
pub(crate) struct InFlight<S, B, P: ReplayPolicy<B>, C> {
    token: TokenId,
    classify: C,
    token_info: Option<TokenInfo>,
    replayable: Option<Replayable<S, B, P>>,
}

/// A saved request, and the service that can send it again.
struct Replayable<S, B, P: ReplayPolicy<B>> {
    refresher: AuthRefresher,
    inner: S,
    request: P::Saved,
    header: HeaderName,
    token: Option<HeaderValue>,
    valid_for: Option<TokenValidFor>,
}

/// What follows a response.
pub(crate) enum Outcome<S, B, P: ReplayPolicy<B>, C, T> {
    /// The response is for the caller.
    Final(T),
    /// The token was rejected. A newer one is there, or a login for it is due.
    Rejected { newer: TokenFuture, original: T, in_flight: InFlight<S, B, P, C> },
}

/// A request to send again.
pub(crate) struct Replay<S, B, P: ReplayPolicy<B>, C> {
    pub(crate) inner: S,
    pub(crate) request: Request<P::Body>,
    pub(crate) in_flight: InFlight<S, B, P, C>,
}

impl<S: Clone, B, P: ReplayPolicy<B>, C: Clone> InFlight<S, B, P, C> {
    /// Inserts this token into the request, and saves what a replay needs.
    pub(crate) fn new(
        mut request: Request<B>,
        token: &CachedToken,
        refresher: &AuthRefresher,
        config: &Config<P, C>,
        inner: &S,
    ) -> (Request<P::Body>, Self) {
        config.header.insert(request.headers_mut(), token.header.local().1);
        let id = refresher.token_id(token);
        let request = config.replay.wrap(request);
        let in_flight = match config.replay.save(&request) {
            Some(saved) => Self::replayable(saved, &request, id, refresher, config, inner),
            None => Self { token: id, classify: config.classify.clone(), token_info: None, replayable: None },
        };
        let token_info = config.insert_token_info.then(|| TokenInfo::of(token));
        (request, Self { token_info, ..in_flight })
    }

    /// Keeps a request that has its token and is saved.
    pub(crate) fn replayable(
        saved: P::Saved,
        request: &Request<P::Body>,
        token: TokenId,
        refresher: &AuthRefresher,
        config: &Config<P, C>,
        inner: &S,
    ) -> Self {
        let header = config.header.name();
        let replayable = Replayable {
            refresher: refresher.clone(),
            inner: inner.clone(),
            request: saved,
            token: request.headers().get(&header).cloned(),
            header,
            valid_for: TokenValidFor::of(request.extensions()),
        };
        Self { token, classify: config.classify.clone(), token_info: None, replayable: Some(replayable) }
    }
}

/// Reports a rejection, if the response is one and the request had a token. Returns whether a newer token exists or will.
#[inline]
pub(crate) fn report_rejection<R>(
    token: Option<TokenId>,
    classify: &impl ClassifyRejection,
    response: &Response<R>,
) -> bool {
    #[cold]
    fn rejected(token: Option<TokenId>, headers: &HeaderMap) -> bool {
        token.is_some_and(|token| refresh::reject(token, challenge(headers)))
    }
    classify.is_rejection(response.status(), response.headers()) && rejected(token, response.headers())
}

impl<S, B, P: ReplayPolicy<B>, C: ClassifyRejection> InFlight<S, B, P, C> {
    pub(crate) fn on_response<R>(self, mut response: Response<R>) -> Outcome<S, B, P, C, Response<R>> {
        if let Some(token_info) = self.token_info {
            response.extensions_mut().insert(token_info);
        }
        let has_newer = report_rejection(Some(self.token), &self.classify, &response);
        match &self.replayable {
            Some(replayable) if has_newer => {
                let min = replayable.valid_for.map(|TokenValidFor(min)| min);
                let newer = replayable.refresher.wait_for_token(min);
                Outcome::Rejected { newer, original: response, in_flight: self }
            }
            _ => Outcome::Final(response),
        }
    }

    /// Returns the request with the newer token; `None` if it cannot be sent again, or the token is the rejected one.
    pub(crate) fn replay(self, newer: &CachedToken) -> Option<Replay<S, B, P, C>> {
        let Replayable { refresher, inner, request, header, token, .. } = self.replayable?;
        let (_, value) = newer.header.local();
        if token.as_ref() == Some(value) {
            return None;
        }
        let mut request = P::restore(request)?;
        *request.headers_mut().get_mut(&header)? = value.clone();
        refresher.telemetry().request_replayed();
        // A request is replayed once, so nothing is saved this time.
        let token_info = self.token_info.map(|_| TokenInfo::of(newer));
        let in_flight = InFlight { token: refresher.token_id(newer), token_info, replayable: None, ..self };
        Some(Replay { inner, request, in_flight })
    }
}

/// Joins all challenges of a response. Several header lines mean the same as one list (RFC 9110, section 5.3).
fn challenge(headers: &HeaderMap) -> Option<HeaderValue> {
    let all: Vec<&[u8]> = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes).collect();
    if all.is_empty() { None } else { HeaderValue::from_bytes(&all.join(&b", "[..])).ok() }
}
