//! Sets the current token on each request. Depends on the cell, not on logins.
//!
//! In reading order; each file imports only files before it:
//!
//! - `origin`, `destination`: where a token is allowed to go
//! - `error`, `classify`, `extensions`, `replay`: one type or policy each
//! - `header_config`, `config`: the settings of one layer; `sharded_arc`, `service_context`: what clones of a service
//!   share
//! - `header_cache`: the header value that a service caches between calls
//! - `identity`, `keyed_identity`: which refresher's token a request gets
//! - `in_flight`: a request in flight that may be replayed
//! - `slow_path`, `future`, `service` (the hot path), `layer`
//! - `keyed_layer`: the layer for many identities
//! - `grpc`, `tonic_status`: what gRPC clients need

mod classify;
mod config;
mod destination;
mod error;
mod extensions;
mod future;
#[cfg(feature = "replay-buffered")]
mod grpc;
mod header_cache;
mod header_config;
mod identity;
mod in_flight;
#[cfg(feature = "keyed")]
mod keyed_identity;
#[cfg(feature = "keyed")]
mod keyed_layer;
mod layer;
#[cfg(all(test, loom_models))]
mod loom_models;
mod origin;
mod replay;
mod service;
mod service_context;
mod sharded_arc;
mod slow_path;
#[cfg(feature = "tonic-0_14")]
mod tonic_status;

#[cfg(feature = "keyed")]
pub use self::keyed_identity::{KeyFromExtensions, KeyFromFn, KeySource, KeyedIdentity};
#[cfg(feature = "replay-buffered")]
pub use self::replay::{buffered::ReplayBuffered, buffered_body::BufferedBody, map_body::MapBody};
pub use self::{
    classify::{
        ClassifyRejection, GrpcUnauthenticatedAsRejection, NeverReject, UnauthorizedAsRejection,
    },
    destination::{DestinationPolicy, UnsafeDestination},
    error::Error,
    extensions::{TokenInfo, TokenValidFor},
    future::ResponseFuture,
    identity::{IdentityPolicy, SingleIdentity},
    layer::AuthRefreshLayer,
    origin::{InvalidOrigin, Origin},
    replay::{
        policy::{NeverReplay, ReplayClone, ReplayPolicy},
        with::ReplayWith,
    },
    service::AuthRefresh,
};
