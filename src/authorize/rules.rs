//! What one layer does with requests: everything it was told, in one place.

use super::{NeverReplay, Unauthorized, placement::Placement};

/// The settings of one layer. A clone costs little.
#[derive(Clone, Debug)]
pub(crate) struct Rules<P, C> {
    pub(crate) placement: Placement,
    pub(crate) tell: bool,
    pub(crate) replay: P,
    pub(crate) classify: C,
}

impl Default for Rules<NeverReplay, Unauthorized> {
    fn default() -> Self {
        Self { placement: Placement::default(), tell: false, replay: NeverReplay, classify: Unauthorized }
    }
}

impl<P, C> Rules<P, C> {
    pub(crate) fn with_replay<Q>(self, replay: Q) -> Rules<Q, C> {
        let Self { placement, tell, replay: _, classify } = self;
        Rules { placement, tell, replay, classify }
    }

    pub(crate) fn with_classify<D>(self, classify: D) -> Rules<P, D> {
        let Self { placement, tell, replay, classify: _ } = self;
        Rules { placement, tell, replay, classify }
    }
}
