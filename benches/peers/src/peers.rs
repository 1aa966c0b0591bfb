//! The peers, and what is asked of each.

mod add_authorization;
mod aliri_tokens;
mod aws_smithy;
mod azure_core;
mod gcp_auth;
mod gears;
mod google_cloud;
mod hand_written;
mod huskarl;
mod kube;
mod octocrab;
mod ours;

use tokio::runtime::Runtime;

use crate::{
    calls::{self, Calls},
    endpoint::{self, Endpoint},
    issuer::Issuer,
};

/// What a peer may lean on.
#[derive(Debug)]
pub struct Surroundings {
    /// Runs what a peer does in the background.
    pub runtime: Runtime,
    pub issuer: Issuer,
}

impl Surroundings {
    pub fn start() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime can be started");
        Self { runtime, issuer: Issuer::start() }
    }
}

/// A crate with a long-lived service or credential that has its token.
trait Peer: Sized + Send + Sync + 'static {
    const NAME: &'static str;
    /// Whose version is shown.
    const PACKAGE: &'static str;

    fn start(surroundings: &Surroundings) -> Self;

    /// Calls with the token on, made by one of the threads that share the peer.
    fn calls<const CHECKED: bool>(&self) -> Calls;

    /// The same calls without the token, if they are not those of the bare inner service.
    fn own_bare(&self) -> Option<Calls> {
        None
    }
}

/// A peer that runs.
pub trait Running: Send + Sync {
    fn calls(&self) -> Calls;

    fn own_bare(&self) -> Option<Calls>;

    /// Makes one call, to see whether the token is on it.
    fn carries_token(&self) -> bool;
}

impl<P: Peer> Running for P {
    fn calls(&self) -> Calls {
        Peer::calls::<false>(self)
    }

    fn own_bare(&self) -> Option<Calls> {
        Peer::own_bare(self)
    }

    fn carries_token(&self) -> bool {
        let before = endpoint::carried();
        Peer::calls::<true>(self)(1);
        endpoint::carried() == before + 1
    }
}

/// A peer to be started.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub name: &'static str,
    pub package: &'static str,
    pub start: fn(&Surroundings) -> Box<dyn Running>,
}

impl Entry {
    const fn of<P: Peer>() -> Self {
        Self { name: P::NAME, package: P::PACKAGE, start: |surroundings| Box::new(P::start(surroundings)) }
    }
}

/// What the others are measured against.
pub const BASELINE: &str = <add_authorization::OneService as Peer>::NAME;

pub const ALL: &[Entry] = &[
    Entry::of::<hand_written::HandWritten>(),
    Entry::of::<add_authorization::OneService>(),
    Entry::of::<add_authorization::Clones>(),
    Entry::of::<ours::Ours>(),
    Entry::of::<ours::Clones>(),
    Entry::of::<ours::Replay>(),
    Entry::of::<aliri_tokens::Watcher>(),
    Entry::of::<aws_smithy::Bearer>(),
    Entry::of::<azure_core::BearerPolicy>(),
    Entry::of::<gears::BearerAuth>(),
    Entry::of::<gears::AutoRefresh>(),
    Entry::of::<gcp_auth::ServiceAccount>(),
    Entry::of::<google_cloud::UserCredentials>(),
    Entry::of::<huskarl::Authorizer>(),
    Entry::of::<kube::TokenFile>(),
    Entry::of::<octocrab::Installation>(),
];

/// Calls of the inner service and nothing else.
pub fn bare() -> Calls {
    calls::through::<(), _>(Endpoint::<false>)
}
