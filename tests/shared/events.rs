//! The events of shared tokens.
#![cfg(feature = "tracing")]

use std::{
    io,
    sync::{Arc, Mutex},
};

use tokio::time::sleep;
use tower::Layer;
use tower_auth_refresh::{AccessToken, LoginReason, shared::SharedTokenLayer};

use crate::{Fleet, identity, layer, log_in, millis, support::HOUR};

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn events_report_what_happened_without_a_secret() {
    crate::dispatch::ask_each_dispatcher();
    let text = Text::default();
    let writer = text.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let fleet = Fleet::default();
    let login = || {
        fleet.logins.service(|nth| async move {
            sleep(millis(100)).await;
            Ok(AccessToken::bearer(format!("s3cr3t{nth}"))?.with_expires_in(HOUR))
        })
    };
    let layer = layer(fleet.store.clone());
    let (mut one, mut two) = (layer.layer(login()), layer.layer(login()));
    log_in(&mut one, LoginReason::First).await.unwrap();
    log_in(&mut two, LoginReason::First).await.unwrap();
    let mut unsealed =
        SharedTokenLayer::danger_unsealed(fleet.store.clone(), identity()).layer(login());
    log_in(&mut unsealed, LoginReason::First).await.unwrap();
    tokio::join!(async { log_in(&mut one, LoginReason::Forced).await.unwrap() }, async {
        sleep(millis(50)).await;
        fleet.store.lose_claims();
    });
    fleet.store.set_available(false);
    log_in(&mut one, LoginReason::Forced).await.unwrap();

    let text = String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
    for event in [
        "DEBUG tower_auth_refresh: shared token adopted age=",
        "WARN tower_auth_refresh: shared token record unreadable error=",
        "WARN tower_auth_refresh: token claim lost",
        "WARN tower_auth_refresh: token store unavailable error=token store unavailable by script",
    ] {
        assert!(text.contains(event), "{event}: {text}");
    }
    assert!(!text.contains("s3cr3t"), "{text}");
}
