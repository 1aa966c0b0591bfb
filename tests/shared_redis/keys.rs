//! What the store writes, for whom, and with what it finds there.

use std::{fs, time::Duration};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use redis::{Client, TlsCertificates};
use tower_auth_refresh::shared::{ClaimOutcome, RedisTokenStore, TokenStore};

use crate::{
    LONG, claim_id, key, loaded, open, put_first, record,
    server::{Server, free_port},
};

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn keys_share_a_slot_and_expire() {
    let server = Server::start().await;
    let store = open(&server).prefix("billing");
    put_first(&store, 0xab).await;
    let expected = Some(record(0xab).revision);
    store.claim(&key(0xab), expected, claim_id(1), LONG).await.unwrap();

    let mut keys: Vec<String> = server.command("KEYS *").await.unwrap();
    keys.sort();
    let tag = format!("billing:{{{}}}", "ab".repeat(32));
    assert_eq!(keys, [format!("{tag}:claim"), format!("{tag}:record")]);
    for key in keys {
        let left: u128 = server.command(&format!("PTTL {key}")).await.unwrap();
        assert!(left <= LONG.as_millis(), "{key}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn record_without_time_to_live_replaces_one_that_expires() {
    let server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    let expected = Some(record(1).revision);
    store.claim(&key(1), expected, claim_id(1), LONG).await.unwrap();
    let mut next = record(2);
    next.time_to_live = None;
    assert!(store.put(&key(1), expected, claim_id(1), next).await.unwrap());
    let keys: Vec<String> = server.command("KEYS *").await.unwrap();
    assert_eq!(server.command::<i64>(&format!("PTTL {}", keys[0])).await.unwrap(), -1);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn age_is_zero_after_the_clock_was_set_back() {
    let server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    let keys: Vec<String> = server.command("KEYS *").await.unwrap();
    server.command::<()>(&format!("HSET {} put_at 9000000000000", keys[0])).await.unwrap();
    assert_eq!(store.load(&key(1)).await.unwrap().unwrap().age, Duration::ZERO);
    let claim = store.claim(&key(1), None, claim_id(1), LONG).await.unwrap();
    assert!(matches!(claim, ClaimOutcome::Changed(Some(record)) if record.age == Duration::ZERO));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn values_of_other_programs_are_errors() {
    let server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    let keys: Vec<String> = server.command("KEYS *").await.unwrap();
    server.command::<()>(&format!("HSET {} revision short", keys[0])).await.unwrap();
    let error = store.load(&key(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "redis reply invalid");
    server.command::<()>(&format!("SET {} text", keys[0])).await.unwrap();
    assert!(store.claim(&key(1), None, claim_id(1), LONG).await.is_err());
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn record_that_is_too_large_is_neither_put_nor_returned() {
    let server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    let keys: Vec<String> = server.command("KEYS *").await.unwrap();
    let expected = Some(record(1).revision);
    store.claim(&key(1), expected, claim_id(1), LONG).await.unwrap();
    let mut next = record(2);
    next.bytes = vec![0; (1 << 20) + 1].into();
    let error = store.put(&key(1), expected, claim_id(1), next).await.unwrap_err();
    assert_eq!(error.to_string(), "record too large: 1048577 bytes");
    for (len, returned) in [(1 << 20, 1 << 20), ((1 << 20) + 1, 0)] {
        let bytes = "x".repeat(len);
        server.command::<()>(&format!("HSET {} bytes {bytes}", keys[0])).await.unwrap();
        assert_eq!(store.load(&key(1)).await.unwrap().unwrap().bytes.len(), returned);
        let changed = store.claim(&key(1), None, claim_id(2), LONG).await.unwrap();
        let ClaimOutcome::Changed(Some(record)) = changed else { panic!("{changed:?}") };
        assert_eq!(record.bytes.len(), returned);
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn record_without_its_fields_has_no_bytes() {
    let server = Server::start().await;
    let store = open(&server);
    put_first(&store, 1).await;
    let keys: Vec<String> = server.command("KEYS *").await.unwrap();
    server.command::<()>(&format!("HDEL {} bytes put_at", keys[0])).await.unwrap();
    assert!(store.load(&key(1)).await.unwrap().unwrap().bytes.is_empty());
    let changed = store.claim(&key(1), None, claim_id(1), LONG).await.unwrap();
    let ClaimOutcome::Changed(Some(record)) = changed else { panic!("{changed:?}") };
    assert!(record.bytes.is_empty());
}

/// `PERSIST`, of an operator, must not end all logins.
#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn claim_without_expiry_is_granted_to_others() {
    let server = Server::start().await;
    let store = open(&server);
    store.claim(&key(1), None, claim_id(1), LONG).await.unwrap();
    let keys: Vec<String> = server.command("KEYS *").await.unwrap();
    server.command::<()>(&format!("PERSIST {}", keys[0])).await.unwrap();
    assert_eq!(store.claim(&key(1), None, claim_id(2), LONG).await.unwrap(), ClaimOutcome::Granted);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn user_of_one_prefix_suffices() {
    let server = Server::start().await;
    let user = "ACL SETUSER billing on >pass~word ~billing:* +evalsha +eval +script|load +time \
                +hmget +hget +hset +get +set +del +pttl +pexpire +persist";
    server.command::<()>(user).await.unwrap();
    let url = format!("redis://billing:pass~word@127.0.0.1:{}", server.port);
    let store = RedisTokenStore::open(url.as_str()).unwrap().prefix("billing");
    put_first(&store, 1).await;
    assert_eq!(loaded(&store, 1).await, Some(1));
    let claim = store.claim(&key(2), None, claim_id(1), LONG).await.unwrap();
    assert_eq!(claim, ClaimOutcome::Granted);
    assert!(store.extend(&key(2), claim_id(1), LONG).await.unwrap());
    store.release(&key(2), claim_id(1)).await.unwrap();

    let other = RedisTokenStore::open(url.as_str()).unwrap().prefix("payroll");
    let error = other.load(&key(1)).await.unwrap_err().to_string();
    assert!(!error.contains("pass~word"), "{error}");
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test --all-features --test shared_redis -- --ignored"]
async fn server_with_tls_and_password_is_used() {
    let certificate = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let CertifiedKey { cert, signing_key } = certificate;
    let directory = std::env::temp_dir().join(format!("tower-auth-refresh-tls-{}", free_port()));
    fs::create_dir_all(&directory).unwrap();
    let (cert_file, key_file) = (directory.join("cert.pem"), directory.join("key.pem"));
    fs::write(&cert_file, cert.pem()).unwrap();
    fs::write(&key_file, signing_key.serialize_pem()).unwrap();
    let tls_port = free_port();
    // The plain port only for the helper that waits for the server.
    let port = free_port();
    let url = format!("redis://:pass~word@127.0.0.1:{port}");
    let server = Server::start_at(
        port,
        url,
        &[
            "--tls-port",
            &tls_port.to_string(),
            "--tls-cert-file",
            cert_file.to_str().unwrap(),
            "--tls-key-file",
            key_file.to_str().unwrap(),
            "--tls-ca-cert-file",
            cert_file.to_str().unwrap(),
            "--tls-auth-clients",
            "no",
            "--requirepass",
            "pass~word",
        ],
    )
    .await;

    let tls = |password: &str, root_cert: Option<Vec<u8>>| {
        let url = format!("rediss://:{password}@localhost:{tls_port}");
        let certificates = TlsCertificates { client_tls: None, root_cert };
        RedisTokenStore::from_client(Client::build_with_tls(url, certificates).unwrap())
    };
    let store = tls("pass~word", Some(cert.pem().into_bytes()));
    put_first(&store, 1).await;
    assert_eq!(loaded(&store, 1).await, Some(1));
    assert!(!format!("{store:?}").contains("pass~word"));

    assert!(tls("pass~word", None).load(&key(1)).await.is_err());
    let error = tls("wr~ong", Some(cert.pem().into_bytes())).load(&key(1)).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("wr~ong"), "{error:?}");
    drop(server);
    fs::remove_dir_all(directory).unwrap();
}
