//! Login services that contact no server: the token is in the program, a variable, a file, or the output of a command.
//!
//! | | where the token comes from | when it is read |
//! | --- | --- | --- |
//! | [`StaticToken`] | the program | at the first login |
//! | [`EnvToken`] | an environment variable | at the first login |
//! | [`FileToken`] | a file that another program updates, such as Kubernetes | when it changes |
//! | [`CommandToken`] | the output of a command, as for `kubectl` or `git` | before the token expires |
//!
//! Use each of them as any login service: in an [`AuthRefresher`](crate::AuthRefresher), below tower's layers, or as
//! the subject of a [token exchange](crate::oauth2::Grant::token_exchange).
//!
//! ```
//! use tower_auth_refresh::{AccessToken, AuthRefreshLayer, BoxError, sources::{EnvToken, StaticToken}};
//!
//! let from_variable = AuthRefreshLayer::with_login(EnvToken::new("API_TOKEN"));
//! let fixed = AuthRefreshLayer::with_login(StaticToken::new(AccessToken::bearer("abc")?));
//! # let _ = (from_variable, fixed);
//! # Ok::<(), BoxError>(())
//! ```

#[cfg(feature = "token-command")]
mod command;
#[cfg(feature = "token-command")]
mod command_format;
mod env;
#[cfg(feature = "token-file")]
mod file;
#[cfg(feature = "token-file")]
mod file_reader;
#[cfg(feature = "token-file")]
mod file_watch;
#[cfg(any(feature = "token-command", feature = "token-file"))]
mod parse;
#[cfg(feature = "token-file")]
mod single_flight;
mod static_token;

#[cfg(feature = "token-command")]
#[cfg_attr(docsrs, doc(cfg(feature = "token-command")))]
pub use command::CommandToken;
#[cfg(feature = "token-command")]
#[cfg_attr(docsrs, doc(cfg(feature = "token-command")))]
pub use command_format::CommandFormat;
pub use env::EnvToken;
#[cfg(feature = "token-file")]
#[cfg_attr(docsrs, doc(cfg(feature = "token-file")))]
pub use file::FileToken;
pub use static_token::StaticToken;
