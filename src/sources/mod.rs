//! Logins that are none: tokens that are there already, or that something else fetches.
//!
//! | | where the token comes from | when it is read |
//! | --- | --- | --- |
//! | [`StaticToken`] | the program | at the first login |
//! | [`EnvToken`] | a variable of the environment | at the first login |
//! | [`FileToken`] | a file that somebody keeps fresh, as Kubernetes does | when it changes |
//! | [`CommandToken`] | what a command prints, as for `kubectl` or `git` | before its end |
//!
//! Each is a login service, so that it goes into an [`AuthRefresher`](crate::AuthRefresher), below tower's layers, and
//! wherever else one is wanted: a token exchange takes its subject from one
//! ([`Grant::token_exchange`](crate::oauth2::Grant::token_exchange)).

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
