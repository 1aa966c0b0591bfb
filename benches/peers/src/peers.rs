//! The peers, and the trait that each implements.

mod add_authorization;
mod aliri_tokens;
mod aws_smithy;
mod azure_core;
mod gcp_auth;
mod gears;
mod google_cloud;
mod hand_written;
mod huskarl;
mod keyed;
mod kube;
mod octocrab;
mod ours;

pub use self::keyed::KEYED;

use tokio::runtime::Runtime;

use crate::{
    calls::{self, Calls},
    endpoint::{self, Endpoint},
    issuer::Issuer,
};

/// The resources that a peer can use.
#[derive(Debug)]
pub struct Surroundings {
    /// Runs the background tasks of the peers.
    pub runtime: Runtime,
    pub issuer: Issuer,
}

impl Surroundings {
    pub fn start() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(1).enable_all().build().expect("a runtime can be started");
        Self { runtime, issuer: Issuer::start() }
    }
}

/// A crate with a long-lived service or credential that has a token.
trait Peer: Sized + Send + Sync + 'static {
    const NAME: &'static str;
    /// The package whose version the table shows.
    const PACKAGE: &'static str;

    fn start(surroundings: &Surroundings) -> Self;

    /// Returns the calls with the token, for one of the threads that share the peer.
    fn calls<const CHECKED: bool>(&self) -> Calls;

    /// Returns the same calls without the token, unless these are calls of the bare inner service.
    fn own_bare(&self) -> Option<Calls> {
        None
    }
}

/// A started peer.
pub trait Running: Send + Sync {
    fn calls(&self) -> Calls;

    fn own_bare(&self) -> Option<Calls>;

    /// Makes one call, to check that it carries the token.
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
        let mut calls = Peer::calls::<true>(self);
        let before = endpoint::carried();
        calls(1);
        endpoint::carried() == before + 1
    }
}

/// A peer that has not been started.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub name: &'static str,
    pub package: &'static str,
    pub start: fn(&Surroundings) -> Box<dyn Running>,
}

impl Entry {
    const fn of<P: Peer>() -> Self {
        Self {
            name: P::NAME,
            package: P::PACKAGE,
            start: |surroundings| Box::new(P::start(surroundings)),
        }
    }
}

/// Peers that are compared with each other.
#[derive(Debug)]
pub struct Group {
    pub title: &'static str,
    /// Explains the mark of peers that have a bare call of their own.
    pub note: &'static str,
    /// The file of the chart.
    pub file: &'static str,
    /// The name of the peer that the table compares the others with.
    pub baseline: &'static str,
    /// Returns calls of the bare inner service.
    pub bare: fn() -> Calls,
    pub entries: &'static [Entry],
}

/// The peers with one token.
pub const UNKEYED: Group = Group {
    title: "Nanoseconds that each crate adds to a call",
    note: "* With requests or a client of its own: added to a call by these without a token.",
    file: "overhead.svg",
    baseline: <add_authorization::OneService as Peer>::NAME,
    bare: || calls::through::<(), _>(Endpoint::<false>),
    entries: &[
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
        Entry::of::<kube::FileToken>(),
        Entry::of::<octocrab::Installation>(),
    ],
};

impl Group {
    /// Returns the group with a name: "keyed" or "unkeyed".
    pub fn named(name: &str) -> Option<&'static Self> {
        match name {
            "unkeyed" => Some(&UNKEYED),
            "keyed" => Some(&KEYED),
            _ => None,
        }
    }
}
