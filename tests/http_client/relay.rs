//! [`Relay`]: a TCP relay whose connections can die without a sign of it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::AbortHandle,
};

use crate::support::listen;

/// Relays each connection to a server. It stops when it is dropped.
pub(crate) struct Relay {
    addr: SocketAddr,
    counts: Arc<Counts>,
    task: AbortHandle,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    /// Connections with a lower number are dead.
    dead: AtomicUsize,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let (addr, task) = listen(move |client| {
            let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
            let counts = Arc::clone(&shared);
            async move {
                let server = TcpStream::connect(server).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let is_dead = || number < counts.dead.load(Ordering::SeqCst);
                tokio::join!(
                    forward(from_client, to_server, is_dead),
                    forward(from_server, to_client, is_dead)
                );
            }
        })
        .await;
        Self { addr, counts, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Swallows all packets on the connections there are, and on `more` of the next ones.
    pub(crate) fn kill(&self, more: usize) {
        self.counts.dead.store(self.connections() + more, Ordering::SeqCst);
    }
}

/// Forwards data and the end of it. Of a dead connection, neither is forwarded.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    is_dead: impl Fn() -> bool,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await;
        if is_dead() {
            match read {
                Ok(1..) => continue,
                _ => std::future::pending().await,
            }
        }
        match read {
            Ok(length @ 1..) => to.write_all(&buffer[..length]).await.unwrap(),
            _ => return drop(to.shutdown().await),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
