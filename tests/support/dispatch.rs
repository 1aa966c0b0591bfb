//! Subscribers of single tests, in a process that runs several at once.

use std::sync::OnceLock;

use tracing::Dispatch;

/// Makes `tracing` ask the dispatcher of each thread whether a callsite is enabled.
///
/// `tracing` caches that for the whole process. As long as there is only one dispatcher, the first thread that reaches the
/// callsite decides, which can be another test without a subscriber. With a second dispatcher, `tracing` asks all of them.
pub(crate) fn ask_each_dispatcher() {
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
}
