//! `AuthRefreshLayer::grpc`: the settings for a gRPC client.

use super::{
    classify::GrpcUnauthenticatedAsRejection,
    layer::AuthRefreshLayer,
    replay::{buffered::ReplayBuffered, buffered_body::BufferedBody, map_body::MapBody},
};

impl<P, C, I> AuthRefreshLayer<P, C, I> {
    /// Sets the rejection and the replay for a gRPC client. `body` creates the body that the channel sends:
    /// `tonic::body::Body::new`.
    ///
    /// - The status `UNAUTHENTICATED` rejects the token ([`GrpcUnauthenticatedAsRejection`]).
    /// - A rejected call is replayed from a buffer of 64 KiB ([`ReplayBuffered`]). For another size, set
    ///   [`replay`](Self::replay) after this.
    ///
    /// The clients that tonic generates send only a path through the stack, so the layer also needs the
    /// [origin](Self::origin) of the channel. If a call waits for a token, its timeout (`grpc-timeout`) starts after
    /// that wait. With the feature `tonic-0_14`, [`Error`](crate::Error) converts into a `tonic::Status`. Without the
    /// `map_err` below, tonic reports the layer's errors as `Unknown`.
    ///
    /// Requires the feature `replay-buffered`.
    ///
    /// ```no_run
    /// use tonic::transport::Channel;
    /// use tonic_health::pb::health_client::HealthClient;
    /// use tower::{BoxError, ServiceBuilder};
    /// use tower_auth_refresh::{AuthRefreshLayer, AuthRefresher};
    ///
    /// # async fn connect(refresher: AuthRefresher) -> Result<(), BoxError> {
    /// let channel = Channel::from_static("https://api.example.com").connect().await?;
    /// let service = ServiceBuilder::new()
    #[cfg_attr(feature = "tonic-0_14", doc = "    .map_err(tonic::Status::from)")]
    ///     .layer(AuthRefreshLayer::new(refresher).origin("https://api.example.com")?.grpc(tonic::body::Body::new))
    ///     .service(channel);
    /// let mut client = HealthClient::new(service);
    /// client.check(tonic_health::pb::HealthCheckRequest::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn grpc<B, T, F>(
        self,
        body: F,
    ) -> AuthRefreshLayer<MapBody<ReplayBuffered, F>, GrpcUnauthenticatedAsRejection, I>
    where
        F: Fn(BufferedBody<B>) -> T,
    {
        self.reject_on(GrpcUnauthenticatedAsRejection).replay(ReplayBuffered::new().map_body(body))
    }
}
