//! [`RedisTokenStore`]: a store in Redis.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult, RetryMethod,
    Script, ScriptInvocation, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};

use super::{
    super::{
        StoreFuture,
        store::{ClaimId, ClaimOutcome, NewRecord, Record, RecordKey, Revision, TokenStore},
    },
    connection::{Call, Connection},
    reply,
    scripts::{MAX_RECORD_LEN, Scripts, milliseconds},
};
use crate::BoxError;

/// The time limit of a call without a layer. It is longer than the default of the layer, so that the layer's setting
/// applies.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);

/// Stores records in [Redis](https://redis.io) 5 or newer, or in Valkey.
///
/// Each method executes one Lua script, which is atomic (`EVALSHA`). The first call after a restart of the server loads
/// the script. A record is a hash, `<prefix>:{<key>}:record`. Its claim is a string, `<prefix>:{<key>}:claim`. Both
/// belong to the same slot of a cluster.
///
/// A claim expires after its time to live, and so does the record of an access token with a known lifetime. Records of
/// refresh tokens, and of access tokens without a known lifetime, do not expire.
///
/// Clones use one connection.
///
/// ```
/// use tower_auth_refresh::shared::RedisTokenStore;
///
/// # fn main() -> Result<(), tower_auth_refresh::BoxError> {
/// let store = RedisTokenStore::open("redis://redis.internal:6379")?.prefix("billing");
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
///
/// # Failures
///
/// The store needs a tokio runtime. It connects at the first call, and connects again in each of these cases:
///
/// - A call has failed, or was dropped because the server did not respond within the limit of the layer.
/// - The server has become a replica (`READONLY`), by a failover.
/// - The connection was idle for a minute. Load balancers close such connections without notice.
///
/// If the connection of a call was open before and is lost, the store repeats the call once with a new connection.
///
/// Connecting is limited to five seconds, and continues if the call is dropped. With [`open`](Self::open) and
/// [`from_client`](Self::from_client), the wait for a response has the same limit, which applies without a layer.
///
/// Redis can evict records and claims (`maxmemory-policy`), or lose the last ones in a failover or a restart. Then a
/// process logs in although another token is live.
///
/// The loss of a refresh token ends the session, and a person has to log in. For a `SharedRefreshTokenStore`, use a
/// server that evicts no key without an expiry (`noeviction`, or a policy `volatile-*`), and syncs every write
/// (`appendonly yes`, `appendfsync always`). A failover can still lose the last write, because Redis replicates
/// asynchronously. An issuer that rotates refresh tokens can then revoke the session.
///
/// The server's clock measures the ages. After a failover, that is the clock of the new primary: if it is behind, tokens
/// look younger. Synchronize the clocks of the servers.
///
/// # TLS, Sentinel, cluster
///
/// The store uses the connections of the crate `redis`. Enable its features in the application: `tokio-rustls-comp`,
/// `sentinel`, `cluster-async`.
///
/// | server | constructor |
/// | --- | --- |
/// | one server, with or without TLS and password | [`open`](Self::open), [`from_client`](Self::from_client) |
/// | Sentinel | [`connect_with`](Self::connect_with) |
/// | cluster, or a [`ConnectionManager`] | [`from_connection`](Self::from_connection) |
///
/// [`ConnectionManager`]: https://docs.rs/redis/latest/redis/aio/struct.ConnectionManager.html
pub struct RedisTokenStore<C = MultiplexedConnection> {
    connection: Arc<Connection<C>>,
    prefix: String,
    scripts: Arc<Scripts>,
}

/// Does not clone `C`.
impl<C> Clone for RedisTokenStore<C> {
    fn clone(&self) -> Self {
        let Self { connection, prefix, scripts } = self;
        Self { connection: connection.clone(), prefix: prefix.clone(), scripts: scripts.clone() }
    }
}

impl RedisTokenStore {
    /// Creates a store for one server: `redis://[<user>][:<password>@]<host>[:<port>][/<database>]`, or `rediss://` for
    /// TLS. Does not connect yet.
    ///
    /// # Errors
    ///
    /// If the URL is invalid, or requires a feature of `redis` that is not enabled.
    pub fn open(server: impl IntoConnectionInfo) -> Result<Self, RedisError> {
        Client::open(server).map(Self::from_client)
    }

    /// Creates a store for the server of a client, for example one with its own certificates. Does not connect yet.
    ///
    /// ```
    /// # fn main() -> Result<(), redis::RedisError> {
    /// use tower_auth_refresh::shared::RedisTokenStore;
    ///
    /// let client = redis::Client::open("redis://:password@redis.internal/2")?;
    /// let store = RedisTokenStore::from_client(client);
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_client(client: Client) -> Self {
        Self::connect_with(move || {
            let client = client.clone();
            async move {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(RESPONSE_LIMIT))
                    .set_response_timeout(Some(RESPONSE_LIMIT));
                client.get_multiplexed_async_connection_with_config(&config).await
            }
        })
    }
}

impl<C> RedisTokenStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// Creates a store with a connection that reconnects by itself: a `ConnectionManager` or a `ClusterConnection`.
    ///
    /// A bare `MultiplexedConnection` is not suitable. It does not reconnect, so the store fails for good after its
    /// loss.
    ///
    /// Set the timeouts of the connection too. They apply without a layer.
    ///
    /// ```no_run
    /// use redis::cluster::ClusterClient;
    /// use tower_auth_refresh::{BoxError, shared::RedisTokenStore};
    ///
    /// # async fn open() -> Result<(), BoxError> {
    /// let cluster = ClusterClient::new(vec!["redis://node-1:6379", "redis://node-2:6379"])?;
    /// let store = RedisTokenStore::from_connection(cluster.get_async_connection().await?);
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_connection(connection: C) -> Self {
        Self::connect_with(move || std::future::ready(Ok(connection.clone())))
    }

    /// Creates a store that connects with a function: at the first call, and after each failure.
    ///
    /// With Sentinel, the function returns a connection to the current primary:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use redis::sentinel::{SentinelClient, SentinelServerType};
    /// use tokio::sync::Mutex;
    /// use tower_auth_refresh::{BoxError, shared::RedisTokenStore};
    ///
    /// # fn main() -> Result<(), BoxError> {
    /// let sentinels = vec!["redis://sentinel-1:26379", "redis://sentinel-2:26379"];
    /// let primary = SentinelClient::build(sentinels, "primary".to_owned(), None, SentinelServerType::Master)?;
    /// let primary = Arc::new(Mutex::new(primary));
    /// let store = RedisTokenStore::connect_with(move || {
    ///     let primary = primary.clone();
    ///     async move { primary.lock().await.get_async_connection().await }
    /// });
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_with<F, R>(connect: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = RedisResult<C>> + Send + 'static,
    {
        Self {
            connection: Arc::new(Connection::new(connect)),
            prefix: "tower-auth-refresh".into(),
            scripts: Arc::new(Scripts::new()),
        }
    }

    /// Sets the first part of the keys. Defaults to `tower-auth-refresh`.
    ///
    /// Use one prefix for each application, so that a user of the server can be limited to it (`~billing:*`). The
    /// prefix must not contain braces, which select the slot of a cluster.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Executes a script. Repeats it once if the connection was open before and is lost.
    ///
    /// Each script can be repeated: the claim of the same id is granted a second time, and the put of the same record
    /// returns `true` a second time.
    async fn execute(
        &self,
        script: &Script,
        key: &RecordKey,
        arguments: &[&[u8]],
    ) -> Result<Value, BoxError> {
        let mut script = script.key(format!("{}:{{{key}}}:record", self.prefix));
        script.key(format!("{}:{{{key}}}:claim", self.prefix)).arg(arguments);
        let call = self.connection.open().await?;
        let is_reused = call.is_reused;
        match execute(call, &script).await {
            Err(error) if is_reused && !matches!(error.retry_method(), RetryMethod::NoRetry) => {
                Ok(execute(self.connection.open().await?, &script).await?)
            }
            outcome => Ok(outcome?),
        }
    }
}

async fn execute<C: ConnectionLike>(
    mut call: Call<'_, C>,
    script: &ScriptInvocation<'_>,
) -> RedisResult<Value> {
    let reply = script.invoke_async(&mut call.connection).await?;
    call.keep_connection();
    Ok(reply)
}

impl<C> TokenStore for RedisTokenStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            let reply = self.execute(&self.scripts.load, key, &[]).await?;
            Ok(reply::record(reply)?)
        })
    }

    fn claim<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        Box::pin(async move {
            let time_to_live = milliseconds(time_to_live);
            let arguments =
                [revision_argument(expected.as_ref()), claim.as_bytes(), time_to_live.as_bytes()];
            let reply = self.execute(&self.scripts.claim, key, &arguments).await?;
            Ok(reply::claim(reply)?)
        })
    }

    fn extend<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: ClaimId,
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let time_to_live = milliseconds(time_to_live);
            let arguments = [claim.as_bytes(), time_to_live.as_bytes()];
            let reply = self.execute(&self.scripts.extend, key, &arguments).await?;
            Ok(reply::flag(reply)?)
        })
    }

    fn release<'a>(&'a self, key: &'a RecordKey, claim: ClaimId) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.execute(&self.scripts.release, key, &[claim.as_bytes()]).await?;
            Ok(())
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Option<Revision>,
        claim: ClaimId,
        record: NewRecord,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let len = record.bytes.len();
            if len > MAX_RECORD_LEN {
                return Err(format!("record too large: {len} bytes").into());
            }
            let time_to_live = record.time_to_live.map(milliseconds).unwrap_or_default();
            let arguments = [
                revision_argument(expected.as_ref()),
                claim.as_bytes(),
                record.revision.as_bytes(),
                &record.bytes,
                time_to_live.as_bytes(),
            ];
            let reply = self.execute(&self.scripts.put, key, &arguments).await?;
            Ok(reply::flag(reply)?)
        })
    }
}

/// Returns the argument of the scripts. It is empty if there is no record.
fn revision_argument(revision: Option<&Revision>) -> &[u8] {
    revision.map_or(&[], |revision| revision.as_bytes())
}

/// Does not show the connection, whose configuration can contain a password.
impl<C> fmt::Debug for RedisTokenStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTokenStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
