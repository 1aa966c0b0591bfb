//! A process that is frozen for longer than its token lives, as by SIGSTOP, a throttled container or a suspended
//! machine.
//!
//! Each test runs itself again as the process that it freezes. The freeze is the one real time here: everything else
//! waits for what happens.
#![cfg(unix)]

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response, header::AUTHORIZATION};
use tokio::{task::JoinSet, time::sleep};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, Error, LoginRequest, ReplayClone,
};

const LIFETIME: Duration = Duration::from_secs(4);
const FREEZE: Duration = Duration::from_secs(5);
const CLIENTS: usize = 8;
/// Set in the process that is frozen.
const FROZEN: &str = "TOWER_AUTH_REFRESH_FROZEN";

#[test]
fn frozen_process_with_replay_fails_no_request() {
    assert_eq!(failures("frozen_process_with_replay_fails_no_request", true), 0);
}

#[test]
fn frozen_process_without_replay_fails_only_requests_in_flight() {
    let failed = failures("frozen_process_without_replay_fails_only_requests_in_flight", false);
    assert!(failed <= CLIENTS, "{failed} requests failed");
}

/// Freezes a process in the middle of its requests. Returns how many of them failed.
fn failures(test: &str, replay: bool) -> usize {
    if env::var_os(FROZEN).is_some() {
        send_requests(replay);
        return 0;
    }
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("frozen_process::{test}"), "--nocapture"])
        .env(FROZEN, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    wait_for(&mut output, "clients=");
    signal(&process, "-STOP");
    thread::sleep(FREEZE);
    signal(&process, "-CONT");
    process.stdin.take().unwrap().write_all(b"stop\n").unwrap();
    let failed = wait_for(&mut output, "failed=").parse().unwrap();
    output.read_to_string(&mut String::new()).unwrap();
    assert!(process.wait().unwrap().success());
    failed
}

/// Returns the rest of the line that starts with a text.
fn wait_for(output: &mut impl BufRead, start: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "no line with {start}");
        if let Some((_, rest)) = line.split_once(start) {
            return rest.trim().to_owned();
        }
    }
}

fn signal(process: &Child, signal: &str) {
    assert!(
        Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap().success()
    );
}

/// Sends requests from some clients until the other process says stop, and a few more.
fn send_requests(replay: bool) {
    let issued_at = Arc::new(Mutex::new(Vec::new()));
    let issuer = issued_at.clone();
    let login = service_fn(move |_: LoginRequest| {
        let mut issued_at = issuer.lock().unwrap();
        issued_at.push(Instant::now());
        let token = AccessToken::bearer(issued_at.len().to_string());
        async { Ok::<_, BoxError>(token?.with_expires_in(LIFETIME)) }
    });
    let layer = AuthRefreshLayer::new(AuthRefresher::new(login));
    let server = service_fn(move |request: Request<()>| {
        let header = request.headers()[AUTHORIZATION].to_str().unwrap();
        let token: usize = header.strip_prefix("Bearer ").unwrap().parse().unwrap();
        let is_live = issued_at.lock().unwrap()[token - 1].elapsed() < LIFETIME;
        async move {
            sleep(Duration::from_millis(5)).await;
            let status = if is_live { 200 } else { 401 };
            Response::builder().status(status).body(()).map_err(BoxError::from)
        }
    });
    let failed = match replay {
        true => run(layer.replay(ReplayClone).layer(server)),
        false => run(layer.layer(server)),
    };
    println!("\nfailed={failed}");
}

fn run<S>(client: S) -> usize
where
    S: Service<Request<()>, Response = Response<()>, Error = Error, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let (sent, failed, stopping) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn_on(
            send_until(client.clone(), sent.clone(), failed.clone(), Arc::clone(&stopping)),
            runtime.handle(),
        );
    }
    while sent.load(SeqCst) < 10 * CLIENTS {
        thread::yield_now();
    }
    let running = Instant::now();
    println!("\nclients={CLIENTS}");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    assert_eq!(line, "stop\n");
    assert!(running.elapsed() >= LIFETIME, "the process was not frozen");
    AtomicBool::store(&stopping, true, SeqCst);
    runtime.block_on(async { while clients.join_next().await.is_some() {} });
    failed.load(SeqCst)
}

async fn send_until<S>(
    client: S,
    sent: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
) where
    S: Service<Request<()>, Response = Response<()>, Error = Error, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let mut left = 20;
    while left > 0 {
        let request = Request::get("https://api.example.com/").body(()).unwrap();
        if !client.clone().oneshot(request).await.is_ok_and(|response| response.status() == 200) {
            failed.fetch_add(1, SeqCst);
        }
        sent.fetch_add(1, SeqCst);
        left -= usize::from(stopping.load(SeqCst));
    }
}
