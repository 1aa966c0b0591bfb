//! Every token belongs to the key of its request, with keys that are evicted, forgotten and rejected at random.

use std::time::Duration;

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use tokio::{runtime::Builder, task::JoinSet};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, AuthRefreshers, Error, LoginError, LoginRequest,
    ReplayClone,
};

const KEYS: u32 = 500;
const TASKS: u32 = 16;

/// Responds with 401 to some requests, and 500 if the token does not belong to the request's key.
async fn api(request: Request<()>) -> Result<Response<()>, BoxError> {
    let key: u32 = *request.extensions().get().ok_or("no key")?;
    let header = request.headers()[AUTHORIZATION].to_str()?;
    let status = match header.strip_prefix("Bearer key-").and_then(|secret| secret.split_once('.'))
    {
        Some((owner, _)) if owner.parse() == Ok(key) => match fastrand::u8(..) {
            0..8 => StatusCode::UNAUTHORIZED,
            _ => StatusCode::OK,
        },
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if fastrand::u8(..) < 64 {
        tokio::task::yield_now().await;
    }
    Ok(Response::builder().status(status).body(())?)
}

fn refreshers() -> AuthRefreshers<u32> {
    let minimum = Duration::from_millis(1);
    AuthRefreshers::builder(move |key: &u32| {
        let (key, mut number) = (*key, 0);
        let login = service_fn(move |_: LoginRequest| {
            number += 1;
            let secret = format!("key-{key}.{number}");
            async move {
                tokio::task::yield_now().await;
                if fastrand::u8(..) < 8 {
                    return Err(LoginError::transient("issuer unavailable"));
                }
                Ok(AccessToken::bearer(secret)
                    .map_err(LoginError::transient)?
                    .with_expires_in(Duration::from_secs(60)))
            }
        });
        AuthRefresher::builder(login)
            .backoff(minimum, minimum)
            .min_rejection_age(Duration::ZERO)
            .rejection_limit(1_000_000, minimum)
    })
    // Fewer than there are keys, so that they are evicted all the time.
    .capacity(KEYS as usize / 2)
    .build()
    .unwrap()
}

/// `KEYED_CALLS=1000000 cargo test --release --all-features --test keyed isolation` makes a million calls.
#[test]
fn every_token_belongs_to_the_key_of_its_request() {
    let calls: u32 = std::env::var("KEYED_CALLS").map_or(40_000, |calls| calls.parse().unwrap());
    let refreshers = refreshers();
    let service =
        AuthRefreshLayer::keyed(refreshers.clone()).replay(ReplayClone).layer(service_fn(api));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let [accepted, rejected, failed] = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (refreshers, mut service) = (refreshers.clone(), service.clone());
            tasks.spawn(async move {
                let mut counts = [0_u32; 3];
                let mut key = 0;
                for _ in 0..calls / TASKS {
                    // Some calls in a row have one key.
                    if fastrand::u8(..) < 192 {
                        key = fastrand::u32(..KEYS);
                    }
                    match fastrand::u8(..) {
                        0..4 => drop(refreshers.forget(&fastrand::u32(..KEYS))),
                        4..8 => refreshers.peek(&key).iter().for_each(AuthRefresher::invalidate),
                        _ => {}
                    }
                    let request =
                        Request::get("https://api.example.com/").extension(key).body(()).unwrap();
                    match (&mut service).oneshot(request).await {
                        Ok(response) if response.status() == StatusCode::OK => counts[0] += 1,
                        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                            counts[1] += 1
                        }
                        Ok(_) => panic!("a request had the token of another key"),
                        Err(Error::Login(_)) => counts[2] += 1,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                counts
            });
        }
        tasks.join_all().await.into_iter().fold([0; 3], |sum, counts| {
            let mut sum = sum;
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            sum
        })
    });
    assert_eq!(accepted + rejected + failed, calls / TASKS * TASKS);
    assert!(
        accepted > calls / 10 * 8,
        "{accepted} of {calls} calls succeeded, {rejected} were rejected"
    );
    assert!(refreshers.len() <= KEYS as usize / 2 + TASKS as usize, "{}", refreshers.len());
}
