//! Guides, each on one question.
//!
//! To use the crate:
//!
//! - [`which_login`]: which login to use
//! - [`placement`]: where the layer goes in a stack
//! - [`clients`]: how to build the stack for each HTTP client
//! - [`login_service`]: how to write a login service
//! - [`many_processes`]: how many processes share one token
//! - [`command_line_tools`]: how a command line tool logs a person in once
//! - [`failures`]: what happens when a login fails
//! - [`testing`]: how to test code that uses the crate
//! - [`migrating`]: how to replace a mutex and a string
//!
//! To rely on it:
//!
//! - [`reliability`]: what the crate promises, with the defaults and the known limits
//! - [`observability`]: the metrics, events and spans
//! - [`speed`]: the cost of a call
//! - [`dependencies`]: what the crate depends on
//!
//! To change it:
//!
//! - [`architecture`]: the parts, who owns which state, and the decisions

// Without these features its code does not compile, and its links do not resolve.
#[cfg(all(
    feature = "http-client",
    feature = "oauth2",
    feature = "token-file",
    feature = "token-command"
))]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth2")))]
#[doc = include_str!("which_login.md")]
pub mod which_login {}

#[doc = include_str!("placement.md")]
pub mod placement {}

#[doc = include_str!("clients.md")]
pub mod clients {}

#[doc = include_str!("login_service.md")]
pub mod login_service {}

#[cfg(feature = "keyed")]
#[cfg_attr(docsrs, doc(cfg(feature = "keyed")))]
#[doc = include_str!("many_identities.md")]
#[doc = include_str!("../../benches/keyed.svg")]
pub mod many_identities {}

#[cfg(all(feature = "shared", feature = "test-util"))]
#[cfg_attr(docsrs, doc(cfg(feature = "shared")))]
#[doc = include_str!("many_processes.md")]
pub mod many_processes {}

#[cfg(all(feature = "http-client", feature = "oauth2-native-app", feature = "shared-file"))]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth2-native-app")))]
#[doc = include_str!("command_line_tools.md")]
pub mod command_line_tools {}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("speed.md")]
#[doc = include_str!("../../benches/overhead.svg")]
pub mod speed {}

#[doc = include_str!("reliability.md")]
pub mod reliability {}

#[doc = include_str!("observability.md")]
pub mod observability {}

#[doc = include_str!("dependencies.md")]
pub mod dependencies {}

#[doc = include_str!("architecture.md")]
pub mod architecture {}
