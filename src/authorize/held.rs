//! The header value that a service holds on to, so that the next call need not take it out of the cell.

use http::{HeaderMap, HeaderValue};

use super::placement::Placement;
use crate::{
    AuthRefresher,
    refresh::{Group, Mark},
};

/// What one service keeps of the token it used last. Whether that is in use still is one look at the cell's mark.
#[derive(Debug, Default)]
pub(crate) enum Held {
    /// No token has been used.
    #[default]
    Nothing,
    /// One token has been used once. Many a service is cloned for one call: for those it would not pay.
    Once,
    Value {
        mark: Mark,
        /// Whose copy it is: a service that has moved to another thread takes another copy, lest the two fight over this one.
        group: Group,
        value: HeaderValue,
    },
}

impl Held {
    /// What is held, if it is in use still, and this thread's.
    #[inline]
    pub(crate) fn current(&self, refresher: &AuthRefresher) -> Option<(Mark, &HeaderValue)> {
        match self {
            Self::Value { mark, group, value } if refresher.is_current(*mark) && group.is_mine() => {
                Some((*mark, value))
            }
            _ => None,
        }
    }

    /// Holds on to no secret that is in use no more.
    pub(crate) fn let_go_of_old(&mut self, refresher: &AuthRefresher) {
        if let Self::Value { mark, .. } = self
            && !refresher.is_current(*mark)
        {
            *self = Self::Nothing;
        }
    }

    /// Puts the token that is in the cell on a request, and takes note of it.
    pub(crate) fn take_from_cell(
        &mut self,
        refresher: &AuthRefresher,
        placement: &Placement,
        headers: &mut HeaderMap,
    ) -> Option<Mark> {
        let current = refresher.current();
        let Some(lease) = &*current else {
            *self = Self::Nothing;
            return None;
        };
        let (mark, (group, value)) = (refresher.mark(lease), lease.header.mine());
        placement.put(headers, value);
        *self = match self {
            Self::Nothing => Self::Once,
            Self::Once | Self::Value { .. } => Self::Value { mark, group, value: value.clone() },
        };
        Some(mark)
    }
}

/// A clone starts with nothing: copying what is held would cost it more than a look into the cell.
impl Clone for Held {
    fn clone(&self) -> Self {
        Self::Nothing
    }
}
