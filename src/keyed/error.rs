//! [`KeyError`]: why there is no refresher for a key.

use std::{error::Error, fmt};

use crate::{error::BoxError, refresh::InvalidSetting};

/// The error of [`AuthRefreshers::get`](crate::AuthRefreshers::get) and of a keyed layer: there is no refresher for the
/// key.
///
/// It does not contain the key. Its [source](Error::source) is the error of the factory, or an [`InvalidSetting`].
#[derive(Debug)]
pub struct KeyError(KeyErrorKind);

#[derive(Debug)]
pub(super) enum KeyErrorKind {
    MissingKey,
    TooManyNewKeys,
    ShutDown,
    Factory(BoxError),
    FactoryPanicked,
    InvalidSetting(InvalidSetting),
}

impl KeyError {
    pub(crate) fn missing_key() -> Self {
        Self(KeyErrorKind::MissingKey)
    }

    /// Returns the metric's label value.
    pub(crate) fn label(&self) -> &'static str {
        match self.0 {
            KeyErrorKind::MissingKey => "no_key",
            KeyErrorKind::TooManyNewKeys => "new_key_limit",
            KeyErrorKind::ShutDown => "shut_down",
            KeyErrorKind::Factory(_)
            | KeyErrorKind::FactoryPanicked
            | KeyErrorKind::InvalidSetting(_) => "factory_failed",
        }
    }

    /// Returns whether a request has no key.
    pub fn is_missing_key(&self) -> bool {
        matches!(self.0, KeyErrorKind::MissingKey)
    }

    /// Returns whether the [limit on new keys](crate::AuthRefreshersBuilder::new_keys) is reached. Keys that have a
    /// refresher are not affected.
    pub fn is_new_key_limit_reached(&self) -> bool {
        matches!(self.0, KeyErrorKind::TooManyNewKeys)
    }

    /// Returns whether the handle has been [shut down](crate::AuthRefreshers::shutdown).
    pub fn is_shut_down(&self) -> bool {
        matches!(self.0, KeyErrorKind::ShutDown)
    }

    /// Returns whether the factory failed: it returned an error, it panicked, or a setting of its builder is not valid.
    /// A panic of the key's `Clone` counts too.
    pub fn is_factory_failure(&self) -> bool {
        match self.0 {
            KeyErrorKind::Factory(_)
            | KeyErrorKind::FactoryPanicked
            | KeyErrorKind::InvalidSetting(_) => true,
            KeyErrorKind::MissingKey | KeyErrorKind::TooManyNewKeys | KeyErrorKind::ShutDown => {
                false
            }
        }
    }
}

impl From<KeyErrorKind> for KeyError {
    fn from(kind: KeyErrorKind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            KeyErrorKind::MissingKey => "request has no key",
            KeyErrorKind::TooManyNewKeys => "limit of new keys reached",
            KeyErrorKind::ShutDown => "refreshers shut down",
            KeyErrorKind::Factory(_) => "factory failed",
            KeyErrorKind::FactoryPanicked => "factory panicked",
            KeyErrorKind::InvalidSetting(_) => "factory returned a builder with an invalid setting",
        })
    }
}

impl Error for KeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            KeyErrorKind::Factory(error) => Some(&**error),
            KeyErrorKind::InvalidSetting(error) => Some(error),
            KeyErrorKind::MissingKey
            | KeyErrorKind::TooManyNewKeys
            | KeyErrorKind::ShutDown
            | KeyErrorKind::FactoryPanicked => None,
        }
    }
}
