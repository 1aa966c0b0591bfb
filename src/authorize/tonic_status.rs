//! The errors of the layer and of a wait for a token, as a `tonic::Status`.

use std::{error::Error as StdError, sync::Arc};

use tonic::{Code, Status};

use super::error::Error;
use crate::{
    error::message,
    login::{LoginError, error::Kind},
};

/// Converts the error of a call, for `.map_err(tonic::Status::from)` above the layer.
///
/// The error of the inner service becomes the status that tonic itself makes of it. Otherwise the message contains all
/// causes, and the status has this error as its source.
///
/// | error | code |
/// | --- | --- |
/// | `Error::Login` | that of its [`LoginError`] |
/// | `Error::Key` | `RESOURCE_EXHAUSTED` at the limit of new keys, `CANCELLED` after a shutdown, else `UNAUTHENTICATED` |
/// | `Error::Destination` | `UNAUTHENTICATED`, as gRPC's own libraries do for a connection that is not secure |
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Login(error) => code(error),
            Error::Destination(_) => Code::Unauthenticated,
            #[cfg(feature = "keyed")]
            Error::Key(error) if error.is_new_key_limit_reached() => Code::ResourceExhausted,
            #[cfg(feature = "keyed")]
            Error::Key(error) if error.is_shut_down() => Code::Cancelled,
            #[cfg(feature = "keyed")]
            Error::Key(_) => Code::Unauthenticated,
            Error::Inner(_) => return Self::from_error(error.into_source()),
        };
        status(code, error)
    }
}

/// Converts the error of a login, or of a wait for a token. The message contains all causes, and the status has this
/// error as its source.
///
/// | error | code |
/// | --- | --- |
/// | A retry can help: the login failed, timed out, or returned no newer token. | `UNAVAILABLE` |
/// | The login failed [permanently](LoginError::is_permanent). | `UNAUTHENTICATED` |
/// | The wait for a token timed out. | `DEADLINE_EXCEEDED` |
/// | The refresher has been shut down, or its runtime has. | `CANCELLED` |
/// | The login service panicked, waits for its own token, or has no runtime. | `INTERNAL` |
///
/// In a server that calls another one, consider which code the server's own clients should get. `UNAUTHENTICATED` says
/// to them that *their* token is not valid.
impl From<LoginError> for Status {
    fn from(error: LoginError) -> Self {
        status(code(&error), error)
    }
}

fn code(error: &LoginError) -> Code {
    match error.kind() {
        Kind::Failed if error.is_permanent() => Code::Unauthenticated,
        Kind::Failed | Kind::LoginTimeout(_) | Kind::ExpiredOnArrival | Kind::SameToken => {
            Code::Unavailable
        }
        Kind::WaitTimeout(_) | Kind::Undriven(_) => Code::DeadlineExceeded,
        Kind::WorkerEnded | Kind::ShutDown => Code::Cancelled,
        Kind::Panicked | Kind::Reentrant | Kind::NoRuntime => Code::Internal,
    }
}

fn status(code: Code, error: impl StdError + Send + Sync + 'static) -> Status {
    let mut status = Status::new(code, message(&error));
    status.set_source(Arc::new(error));
    status
}
