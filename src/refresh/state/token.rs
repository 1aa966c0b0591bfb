//! [`TokenState`]: the token, and how a new one replaces it.

use std::{mem, sync::Arc, time::SystemTime};

use http::HeaderValue;

use super::actions::{Actions, Notice};
use crate::{
    clock::Timestamp,
    expiry::Expiry,
    login::error::Kind,
    refresh::{cached_token::CachedToken, schedule::Schedule},
    token::AccessToken,
};

#[derive(Debug, Default)]
pub(crate) struct TokenState {
    token: Option<Arc<CachedToken>>,
    /// The number of different tokens so far.
    generation: u64,
    /// When the newest token was requested, and when it expires. Outlives the token.
    newest: Option<(SystemTime, Expiry)>,
    /// The token that was rejected, until a login returns another.
    rejected: Option<RejectedToken>,
    /// The expiry of the current token has been recorded.
    expiry_noticed: bool,
}

/// A token that was rejected or invalidated.
#[derive(Debug)]
pub(crate) struct RejectedToken {
    value: HeaderValue,
    /// A login has returned it since the rejection.
    reissued: bool,
    /// The challenge of the rejection (`WWW-Authenticate`).
    pub(crate) challenge: Option<HeaderValue>,
}

impl TokenState {
    pub(crate) fn current(&self) -> Option<&Arc<CachedToken>> {
        self.token.as_ref()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn newest_times(&self) -> Option<(SystemTime, Expiry)> {
        self.newest
    }

    pub(crate) fn rejected(&self) -> Option<&RejectedToken> {
        self.rejected.as_ref()
    }

    /// Returns whether this is the token that was rejected.
    pub(crate) fn was_rejected(&self, token: &AccessToken) -> bool {
        self.rejected.as_ref().is_some_and(|rejected| rejected.value == token.header_value())
    }

    /// Starts with a token that no login returned.
    pub(crate) fn set_initial(
        &mut self,
        token: AccessToken,
        now: Timestamp,
        schedule: &Schedule,
        random: f64,
    ) {
        self.generation = 1;
        self.replace(CachedToken::new(token, 1, now, now, schedule, random));
    }

    /// ## Token => No token
    ///
    /// The token has become unusable. Its expiry is recorded once, earlier than that if stale tokens are served.
    ///
    /// ## Token => Token
    ///
    /// The wall clock has jumped. The token is published with another deadline.
    pub(crate) fn on_tick(&mut self, now: Timestamp, actions: &mut Actions) {
        if let Some(reanchored) = self.token.as_ref().and_then(|token| token.reanchored(now)) {
            self.token = Some(Arc::new(reanchored));
        }
        let Some(token) = &self.token else { return };
        if token.is_expired(now) && !self.expiry_noticed {
            self.expiry_noticed = true;
            actions.notices.push(Notice::TokenExpired { generation: token.generation });
        }
        if token.is_unusable(now) {
            self.token = None;
        }
    }

    /// ## Token => No token
    ///
    /// A server has rejected the token, or the application has invalidated it.
    pub(crate) fn reject(&mut self, challenge: Option<HeaderValue>, actions: &mut Actions) {
        let Some(token) = self.token.take() else { return };
        actions.notices.push(Notice::TokenRejected { generation: token.generation });
        let value = token.token.header_value().clone();
        self.rejected = Some(RejectedToken { value, reissued: false, challenge });
    }

    /// ## Token => No token
    ///
    /// The refresher has been shut down.
    pub(crate) fn discard(&mut self) {
        self.token = None;
    }

    /// ## Any => Token
    ///
    /// Accepts the token of a login that was sent at `requested_at`. An error means no progress; the token can still be
    /// stored, with its new timeline.
    pub(crate) fn accept(
        &mut self,
        token: AccessToken,
        requested_at: Timestamp,
        now: Timestamp,
        schedule: &Schedule,
        random: f64,
    ) -> Result<(), Kind> {
        // A login can return a rejected token once, by a race. A second time, the issuer has no other token. The same
        // applies if the token never expires or its source would have reported another.
        let only_token = token.source_notifies() || token.expiry() == Expiry::Never;
        let mut reissued = false;
        if let Some(rejected) =
            self.rejected.as_mut().filter(|rejected| rejected.value == token.header_value())
        {
            reissued = mem::replace(&mut rejected.reissued, true) || only_token;
            if !reissued {
                return Err(Kind::SameToken);
            }
        }
        let current = self
            .token
            .as_ref()
            .filter(|current| current.token.header_value() == token.header_value());
        let generation = if current.is_some() { self.generation } else { self.generation + 1 };
        let token = CachedToken::new(token, generation, requested_at, now, schedule, random);
        if token.is_expired(now) {
            return Err(Kind::ExpiredOnArrival);
        }
        let progress = reissued
            || token.token.source_notifies()
            || current.is_none_or(|current| token.expires_after(current, now));
        self.generation = generation;
        self.rejected = None;
        self.replace(token);
        if progress { Ok(()) } else { Err(Kind::SameToken) }
    }

    fn replace(&mut self, token: CachedToken) {
        self.newest = Some((token.requested_at.wall, token.token.expiry()));
        self.expiry_noticed = false;
        self.token = Some(Arc::new(token));
    }
}
