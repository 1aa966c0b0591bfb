//! The authorization layer of `kube-client`, with the token from a file, as inside a cluster.

use std::{convert::Infallible, env, fs, path::PathBuf, process};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use kube_client::{
    Config,
    client::{ConfigExt, middleware::AuthLayer},
};
use tower::{BoxError, Layer, ServiceExt, util::MapErr};

use super::{Peer, Surroundings};
use crate::{
    calls::{self, Calls},
    common::secret,
    endpoint::Endpoint,
};

pub(super) struct FileToken {
    layer: AuthLayer,
    /// Read about once a minute, so it lives as long as the layer.
    path: PathBuf,
}

impl Peer for FileToken {
    const NAME: &'static str = "kube-client, token file";
    const PACKAGE: &'static str = "kube-client";

    fn start(_: &Surroundings) -> Self {
        let path = env::temp_dir().join(format!("peers-token-{}", process::id()));
        fs::write(&path, secret()).expect("the token can be written");
        let mut config = Config::new("https://api.example.com".parse().expect("the URL is valid"));
        config.auth_info.token_file = Some(path.display().to_string());
        let layer = config.auth_layer().expect("the token can be read").expect("there is a token");
        Self { layer, path }
    }

    fn calls<const CHECKED: bool>(&self) -> Calls {
        calls::through::<Body, _>(self.layer.layer(inner::<CHECKED>()))
    }
}

/// The layer's predicate requires a body; this one is as empty as `()`.
type Body = Empty<Bytes>;

/// The layer requires an error that its own errors convert into.
fn inner<const CHECKED: bool>() -> MapErr<Endpoint<CHECKED>, fn(Infallible) -> BoxError> {
    ServiceExt::<Request<Body>>::map_err(Endpoint, |never| match never {})
}

impl Drop for FileToken {
    fn drop(&mut self) {
        // A file that cannot be removed affects nothing.
        let _ = fs::remove_file(&self.path);
    }
}
