//! Tokens that are there already, or that something else fetches.

use std::{
    env, fs,
    future::{Ready, ready},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, retry::Policy, service_fn};
use tower_auth_refresh::{
    AccessToken, AuthRefreshLayer, AuthRefresher, Clock, Expiry, LoginError, LoginReason, LoginRequest, State,
    sources::{CommandFormat, CommandToken, EnvToken, FileToken, StaticToken},
    test_util::TestClock,
};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn log_in<L>(login: L) -> Result<AccessToken, LoginError>
where
    L: Service<LoginRequest, Response = AccessToken, Error = LoginError>,
{
    login.oneshot(LoginRequest::new(LoginReason::First)).await
}

async fn token(refresher: &AuthRefresher) -> String {
    refresher.token().await.unwrap().secret().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_static_token_is_never_refreshed_and_serves_on_though_it_is_rejected() {
    let refresher = AuthRefresher::new(StaticToken::new(AccessToken::bearer("abc").unwrap()));
    let unauthorized = service_fn(|request: Request<()>| async move {
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer abc");
        Ok::<_, BoxError>(Response::builder().status(StatusCode::UNAUTHORIZED).body(())?)
    });
    let mut client = AuthRefreshLayer::new(refresher.clone()).layer(unauthorized);
    assert_eq!(token(&refresher).await, "abc");
    sleep(secs(7 * 86_400)).await;
    assert_eq!(refresher.status().generation, 1);
    // As where one path of many is forbidden.
    for _ in 0..100 {
        let response = client.ready().await.unwrap().call(Request::get("https://a.example").body(()).unwrap()).await;
        assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED);
        for _ in 0..4 {
            sleep(secs(1)).await;
            assert_eq!(token(&refresher).await, "abc");
        }
    }
    assert_eq!(refresher.status().consecutive_failures, 0);
}

#[tokio::test]
async fn a_static_token_that_ends_is_used_until_then() {
    let token = AccessToken::bearer("abc").unwrap().with_expires_in(secs(60));
    assert_eq!(log_in(StaticToken::new(token)).await.unwrap().expiry(), Expiry::In(secs(60)));
}

#[tokio::test]
async fn a_variable_holds_the_token_or_the_error_names_it() {
    // One that cargo sets.
    let token = log_in(EnvToken::new("CARGO_PKG_NAME")).await.unwrap();
    assert_eq!((token.secret(), token.expiry()), ("tower-auth-refresh", Expiry::Never));
    let error = log_in(EnvToken::new("NO_SUCH_VARIABLE")).await.unwrap_err();
    assert!(error.is_permanent() && format!("{error:?}").contains("NO_SUCH_VARIABLE is not set"), "{error:?}");
    // One with something that no header can hold, and that is not told.
    let (name, value) =
        env::vars().find(|(_, value)| value.trim().contains(' ')).unwrap_or(("PATH".into(), "x y".into()));
    if env::var(&name).is_ok_and(|there| there == value) {
        let error = format!("{:?}", log_in(EnvToken::new(&name)).await.unwrap_err());
        assert!(error.contains(&name) && !error.contains(&value), "{error}");
    }
}

/// A folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn file(path: &Path) -> AuthRefresher {
    let clock = TestClock::default();
    AuthRefresher::builder(FileToken::new(path)).clock(clock).jitter(false).build().unwrap()
}

#[tokio::test]
async fn a_file_is_read_without_the_white_space_around() {
    let path = folder("white-space").join("token");
    for text in ["abc", "abc\n", "  abc\r\n\n"] {
        fs::write(&path, text).unwrap();
        let token = log_in(FileToken::new(&path)).await.unwrap();
        assert_eq!((token.header_value().to_str().unwrap(), token.expiry()), ("Bearer abc", Expiry::Unknown));
    }
}

#[tokio::test]
async fn a_file_without_a_token_is_a_transient_failure_that_names_it() {
    let path = folder("no-token").join("token");
    let failed = async |why: &str| {
        let error = log_in(FileToken::new(&path)).await.unwrap_err();
        let told = format!("{error:?}");
        assert!(!error.is_permanent() && told.contains("no-token") && told.contains(why), "{told}");
        assert!(!told.contains("s3cr3t"), "{told}");
    };
    failed("os error 2").await;
    for (text, why) in
        [("", "no token"), ("\n \n", "no token"), ("s3cr3t\nand more", "token"), ("s3cr3t \u{e9}", "token")]
    {
        fs::write(&path, text).unwrap();
        failed(why).await;
    }
    fs::write(&path, "s3cr3t".repeat(20_000)).unwrap();
    failed("larger than 65536 bytes").await;
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    failed("token").await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changes_is_read_within_ten_seconds_be_it_by_a_link() {
    let folder = folder("changes");
    let path = folder.join("token");
    fs::write(&path, "t1\n").unwrap();
    let refresher = file(&path);
    assert_eq!(token(&refresher).await, "t1");

    sleep(secs(3600)).await;
    assert_eq!(refresher.status().generation, 1, "it has not changed");
    fs::write(&path, "t2\n").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t2");

    // As Kubernetes does it: a link to a folder is replaced by another.
    #[cfg(unix)]
    {
        let linked = folder.join("linked");
        for version in ["v1", "v2"] {
            fs::create_dir(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("token"), version).unwrap();
        }
        std::os::unix::fs::symlink(folder.join("v1"), &linked).unwrap();
        let refresher = file(&linked.join("token"));
        assert_eq!(token(&refresher).await, "v1");
        let new = folder.join("new");
        std::os::unix::fs::symlink(folder.join("v2"), &new).unwrap();
        fs::rename(new, &linked).unwrap();
        sleep(secs(11)).await;
        assert_eq!(token(&refresher).await, "v2");
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_in_use_stays_while_the_file_is_gone_or_empty() {
    let path = folder("stays").join("token");
    fs::write(&path, "t1").unwrap();
    let refresher = file(&path);
    assert_eq!(token(&refresher).await, "t1");
    fs::remove_file(&path).unwrap();
    sleep(secs(60)).await;
    assert_eq!(token(&refresher).await, "t1");
    assert!(refresher.refresh().await.is_err());
    fs::write(&path, "").unwrap();
    sleep(secs(600)).await;
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t2");
}

/// A JWT of an hour that ends then.
fn jwt(end: SystemTime) -> String {
    let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = serde_json::json!({"iat": end - 3600, "exp": end});
    let key = jsonwebtoken::EncodingKey::from_secret(b"key");
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_jwt_is_used_to_its_end_and_no_longer_and_reading_it_again_is_no_failure() {
    let path = folder("jwt").join("token");
    let clock = TestClock::default();
    let first = jwt(clock.now() + secs(3600));
    fs::write(&path, &first).unwrap();
    let refresher = AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).build().unwrap();
    assert_eq!(token(&refresher).await, first);
    refresher.refresh().await.unwrap();
    sleep(secs(3590)).await;
    assert_eq!(token(&refresher).await, first);
    let status = refresher.status();
    assert_eq!((status.generation, status.consecutive_failures), (1, 0));

    // Whoever should have replaced it is dead.
    sleep(secs(40)).await;
    assert!(refresher.token().await.is_err());
    assert_eq!(refresher.status().state, State::Failed);
    sleep(secs(3600)).await;
    assert!(refresher.token().await.is_err(), "what is old does not become new");

    let next = jwt(clock.now() + secs(3600));
    fs::write(&path, &next).unwrap();
    sleep(secs(61)).await;
    assert_eq!(token(&refresher).await, next);
}

#[tokio::test(start_paused = true)]
async fn a_jwt_that_was_replaced_in_time_leaves_no_gap() {
    let path = folder("replaced").join("token");
    let clock = TestClock::default();
    fs::write(&path, jwt(clock.now() + secs(3600))).unwrap();
    let refresher = AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).build().unwrap();
    for n in 1..=5 {
        refresher.token().await.unwrap();
        // As Kubernetes does it: when four fifths are over.
        sleep(secs(2880)).await;
        let next = jwt(clock.now() + secs(3600));
        fs::write(&path, &next).unwrap();
        sleep(secs(11)).await;
        assert_eq!(token(&refresher).await, next);
        let status = refresher.status();
        assert_eq!((status.generation, status.consecutive_failures), (n + 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_a_watched_token_from_its_refresher_is_not_told_and_asks_in_time() {
    let path = folder("handed-on").join("token");
    let clock = TestClock::default();
    let first = jwt(clock.now() + secs(3600));
    fs::write(&path, &first).unwrap();
    let one = AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).build().unwrap();
    let login = service_fn(move |_: LoginRequest| {
        let one = one.clone();
        async move { one.token().await }
    });
    let other = AuthRefresher::builder(login).clock(clock.clone()).jitter(false).build().unwrap();
    assert_eq!(token(&other).await, first);
    let second = jwt(clock.now() + secs(7200));
    fs::write(&path, &second).unwrap();
    // Five minutes before the end.
    sleep(secs(3302)).await;
    assert_eq!(token(&other).await, second);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_not_missed_whatever_happens_to_the_login_it_causes() {
    let path = folder("missed").join("token");
    fs::write(&path, "t1").unwrap();
    // A login that fails once, and one that is slow after it has read.
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = failures.clone();
    let file = FileToken::new(&path);
    let login = service_fn(move |request: LoginRequest| {
        let (mut file, nth) = (file.clone(), counted.fetch_add(1, SeqCst));
        async move {
            let token = file.call(request).await?;
            match nth {
                1 => Err(LoginError::transient("on purpose")),
                2 => {
                    sleep(secs(25)).await;
                    Ok(token)
                }
                _ => Ok(token),
            }
        }
    });
    let refresher = AuthRefresher::builder(login).jitter(false).build().unwrap();
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    // The second login has failed. The third reads this, and is slow.
    fs::write(&path, "t3").unwrap();
    sleep(secs(15)).await;
    fs::write(&path, "t4").unwrap();
    sleep(secs(120)).await;
    assert_eq!(token(&refresher).await, "t4");
    fs::write(&path, "t1").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t1", "there and back");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_not_missed_when_the_login_fails_after_it_has_read() {
    let path = folder("fails-after").join("token");
    fs::write(&path, "t1").unwrap();
    let (file, count) = (FileToken::new(&path), Arc::new(AtomicUsize::new(0)));
    let login = service_fn(move |request: LoginRequest| {
        let (token, fails) = (file.clone().call(request), count.fetch_add(1, SeqCst) == 1);
        async move {
            let token = token.await?;
            if fails { Err(LoginError::transient("on purpose")) } else { Ok(token) }
        }
    });
    let refresher = AuthRefresher::new(login);
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(90)).await;
    assert_eq!(token(&refresher).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn each_refresher_of_one_file_is_told_and_one_that_comes_later_too() {
    let path = folder("several").join("token");
    fs::write(&path, "t1").unwrap();
    let login = FileToken::new(&path);
    let (one, other) = (AuthRefresher::new(login.clone()), AuthRefresher::new(login.clone()));
    assert_eq!((token(&one).await, token(&other).await), ("t1".into(), "t1".into()));
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    assert_eq!((token(&one).await, token(&other).await), ("t2".into(), "t2".into()));

    // As when settings are read again.
    drop((one, other));
    let later = AuthRefresher::new(login);
    assert_eq!(token(&later).await, "t2");
    fs::write(&path, "t3").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&later).await, "t3");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_made_for_each_login_makes_no_storm_and_its_token_is_refreshed_as_any_other() {
    let path = folder("each").join("token");
    let clock = TestClock::default();
    fs::write(&path, jwt(clock.now() + secs(3600))).unwrap();
    let (theirs, count) = (path.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    let login = service_fn(move |request: LoginRequest| {
        counted.fetch_add(1, SeqCst);
        let mut file = FileToken::new(&theirs);
        async move { file.call(request).await }
    });
    let refresher = AuthRefresher::builder(login).clock(clock.clone()).jitter(false).build().unwrap();
    token(&refresher).await;
    sleep(secs(3000)).await;
    assert_eq!(count.load(SeqCst), 1);
    let next = jwt(clock.now() + secs(3600));
    fs::write(&path, &next).unwrap();
    sleep(secs(302)).await;
    assert_eq!(token(&refresher).await, next);
}

#[tokio::test(start_paused = true)]
async fn whoever_says_how_long_a_files_token_lives_has_it_refreshed_before() {
    let path = folder("said").join("token");
    fs::write(&path, "t1").unwrap();
    let file = FileToken::new(&path).poll_interval(secs(86_400));
    let login = ServiceBuilder::new().map_response(|token: AccessToken| token.with_expires_in(secs(600))).service(file);
    let refresher = AuthRefresher::builder(login).jitter(false).build().unwrap();
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(500)).await;
    assert_eq!(token(&refresher).await, "t2");
}

#[tokio::test]
async fn logins_that_read_at_once_take_turns() {
    let path = folder("turns").join("token");
    fs::write(&path, "abc").unwrap();
    let login = FileToken::new(&path);
    let logins: Vec<_> = (0..20).map(|_| tokio::spawn(log_in(login.clone()))).collect();
    for login in logins {
        assert_eq!(login.await.unwrap().unwrap().secret(), "abc");
    }
}

/// In the time of the world, since it is of two runtimes; it ends as soon as the token is there.
#[test]
fn the_file_is_watched_on_the_runtime_that_goes_on() {
    let path = folder("runtimes").join("token");
    fs::write(&path, "t1").unwrap();
    let login = FileToken::new(&path).poll_interval(Duration::from_millis(10));
    let pause = Duration::from_millis(1);
    let refresher = AuthRefresher::builder(login).backoff(pause, pause).build().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    assert_eq!(first.block_on(token(&refresher)), "t1");
    drop(first);
    runtime().block_on(async {
        assert_eq!(token(&refresher).await, "t1");
        fs::write(&path, "t2").unwrap();
        while token(&refresher).await != "t2" {
            sleep(Duration::from_millis(10)).await;
        }
    });
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    let path = folder("pipe").join("token");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if made.is_ok_and(|status| status.success()) {
        let error = log_in(FileToken::new(&path)).await.unwrap_err();
        assert!(format!("{error:?}").contains("this is no file"), "{error:?}");
    }
}

/// Tries once more.
#[derive(Clone)]
struct OnceMore(bool);

impl Policy<LoginRequest, AccessToken, BoxError> for OnceMore {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut LoginRequest, result: &mut Result<AccessToken, BoxError>) -> Option<Ready<()>> {
        (result.is_err() && std::mem::take(&mut self.0)).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &LoginRequest) -> Option<LoginRequest> {
        Some(request.clone())
    }
}

fn layered<L>(login: L) -> AuthRefresher
where
    L: Service<LoginRequest, Response = AccessToken, Error = LoginError, Future: Send> + Clone + Send + 'static,
{
    AuthRefresher::new(ServiceBuilder::new().retry(OnceMore(true)).timeout(secs(30)).service(login))
}

#[tokio::test]
async fn each_source_goes_below_towers_layers() {
    let path = folder("layers").join("token");
    fs::write(&path, "abc").unwrap();
    let own = StaticToken::new(AccessToken::bearer("abc").unwrap());
    for refresher in [layered(own), layered(FileToken::new(&path)), layered(CommandToken::new("echo").arg("abc"))] {
        assert_eq!(token(&refresher).await, "abc");
    }
    assert_eq!(token(&layered(EnvToken::new("CARGO_PKG_NAME"))).await, "tower-auth-refresh");
}

#[tokio::test(start_paused = true)]
async fn a_file_is_watched_below_layers_that_clone_its_login() {
    let path = folder("cloned").join("token");
    fs::write(&path, "t1").unwrap();
    let refresher = layered(FileToken::new(&path));
    assert_eq!(token(&refresher).await, "t1");
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_at_the_file_when_the_last_handle_is_gone() {
    let path = folder("handles").join("token");
    fs::write(&path, "t1").unwrap();
    let refresher = file(&path);
    assert_eq!(token(&refresher).await, "t1");
    assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() >= 2);
    drop(refresher);
    sleep(secs(11)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[cfg(unix)]
mod commands {
    use super::*;

    fn shell(script: &str) -> CommandToken {
        CommandToken::new("/bin/sh").args(["-c", script])
    }

    /// A login by this command, whose error tells why and no secret.
    async fn failed(command: CommandToken, why: &str) {
        let error = log_in(command).await.unwrap_err();
        let told = format!("{error:?}");
        assert!(!error.is_permanent() && told.contains(why) && !told.contains("s3cr3t"), "{told}");
    }

    #[tokio::test]
    async fn what_a_command_prints_is_the_token() {
        let token = log_in(shell("echo; echo \"$PREFIX\"abc").env("PREFIX", "of-")).await.unwrap();
        assert_eq!((token.header_value().to_str().unwrap(), token.expiry()), ("Bearer of-abc", Expiry::Unknown));
        // No shell looks at the arguments.
        let token = log_in(CommandToken::new("echo").arg("$HOME;id")).await.unwrap();
        assert_eq!(token.secret(), "$HOME;id");
    }

    #[tokio::test]
    async fn json_has_the_token_and_its_end() {
        let at = |time: u64| Expiry::At(SystemTime::UNIX_EPOCH + secs(time));
        for (json, expiry) in [
            (r#"{"access_token":"abc","expires_in":60}"#, Expiry::In(secs(60))),
            (r#"{"access_token":"abc","expires_in":"60"}"#, Expiry::In(secs(60))),
            (r#"{"access_token":"abc","expires_at":"2027-01-15T08:00:00Z"}"#, at(1_800_000_000)),
            (r#"{"access_token":"abc","expires_at":"2027-01-15T09:00:00.5+01:00"}"#, at(1_800_000_000)),
            (r#"{"access_token":"abc","expires_at":"0001-01-01T00:00:00Z"}"#, at(0)),
            (r#"{"access_token":"abc"}"#, Expiry::Unknown),
        ] {
            let command = CommandToken::new("echo").arg(json).format(CommandFormat::Json);
            let token = log_in(command).await.unwrap();
            assert_eq!((token.secret(), token.expiry()), ("abc", expiry), "{json}");
        }
        for json in [
            "s3cr3t",
            r#"{"token":"s3cr3t"}"#,
            r#"{"access_token":"s3cr3t","expires_in":"soon"}"#,
            r#"{"access_token":"s3cr3t","expires_at":"tomorrow"}"#,
            r#"{"access_token":"s3cr3t\n2"}"#,
        ] {
            failed(CommandToken::new("echo").arg(json).format(CommandFormat::Json), "the command echo: ").await;
        }
    }

    #[tokio::test]
    async fn a_plugin_of_kubernetes_is_told_so_and_understood() {
        let script = r#"
            case "$KUBERNETES_EXEC_INFO" in *'"kind":"ExecCredential"'*) ;; *) exit 3;; esac
            echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"abc","expirationTimestamp":"2027-01-15T08:00:00Z"}}'
        "#;
        let token = log_in(shell(script).format(CommandFormat::ExecCredential)).await.unwrap();
        let end = SystemTime::UNIX_EPOCH + secs(1_800_000_000);
        assert_eq!((token.secret(), token.expiry()), ("abc", Expiry::At(end)));
        for (status, why) in [
            ("{}", "no status"),
            (r#"{"status":{"clientCertificateData":"s3cr3t"}}"#, "no token"),
            (r#"{"status":{"token":""}}"#, "no token"),
        ] {
            let command = CommandToken::new("echo").arg(status).format(CommandFormat::ExecCredential);
            failed(command, why).await;
        }
    }

    #[tokio::test]
    async fn a_command_that_brings_no_token_is_a_transient_failure_that_names_it() {
        failed(CommandToken::new("/no/such/program"), "the command /no/such/program: it cannot be run").await;
        failed(shell("echo s3cr3t; exit 7"), "exit status: 7").await;
        failed(shell("echo s3cr3t >&2"), "there is no token in it").await;
        failed(shell("yes s3cr3t | head -c 2000000"), "more than 1048576 bytes").await;
        failed(shell("kill -9 $$"), "signal: 9").await;
        failed(shell("cat; exit 4"), "exit status: 4").await;
    }

    /// Runs in the time of the world; its limit is far off.
    #[tokio::test]
    async fn what_a_command_has_started_is_not_waited_for() {
        let token = log_in(shell("sleep 5 & echo abc").timeout(secs(3))).await.unwrap();
        assert_eq!(token.secret(), "abc");
        // Half a line may be half a token.
        failed(shell("(printf s3cr3t; sleep 5; printf more) & sleep 0").timeout(secs(3)), "its output goes on").await;
    }

    /// Runs in the time of the world, since processes do; it ends as soon as the process is gone.
    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed() {
        let path = folder("hangs").join("pid");
        let script = format!("echo $$ > {}; exec sleep 1000", path.display());
        let began = log_in(shell(&script).timeout(Duration::from_millis(300)));
        let error = began.await.unwrap_err();
        assert!(format!("{error:?}").contains("longer than 300ms"), "{error:?}");
        let pid = fs::read_to_string(&path).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        if Path::new("/proc/self/stat").exists() {
            // Killed, though perhaps not buried yet.
            while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Panics when it is read, once it is armed.
#[derive(Clone, Debug, Default)]
struct PanicsWhenArmed(Arc<std::sync::atomic::AtomicBool>);

impl Clock for PanicsWhenArmed {
    fn now(&self) -> std::time::SystemTime {
        assert!(!self.0.load(SeqCst), "the clock is read");
        std::time::SystemTime::now()
    }
}

#[tokio::test(start_paused = true)]
async fn clock_that_panics_as_a_file_changes_does_not_abort_the_process() {
    let path = folder("clock").join("token");
    fs::write(&path, "t1").unwrap();
    let clock = PanicsWhenArmed::default();
    let refresher = AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).build().unwrap();
    assert_eq!(token(&refresher).await, "t1");
    clock.0.store(true, SeqCst);
    fs::write(&path, "t2").unwrap();
    sleep(secs(11)).await;
    clock.0.store(false, SeqCst);
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn file_is_followed_although_no_request_uses_its_token() {
    let path = folder("idle").join("token");
    fs::write(&path, "old").unwrap();
    let refresher = AuthRefresher::builder(FileToken::new(&path)).pause_when_idle(Duration::ZERO).build().unwrap();
    refresher.ready().await.unwrap();
    // Longer than the least time between two probes.
    sleep(secs(200)).await;
    fs::write(&path, "new").unwrap();
    sleep(secs(11)).await;
    assert_eq!(token(&refresher).await, "new");
}

#[tokio::test(start_paused = true)]
async fn file_token_is_never_idle_after_an_unused_initial_token() {
    let path = folder("idle-initial").join("token");
    fs::write(&path, "old").unwrap();
    let refresher = AuthRefresher::builder(FileToken::new(&path))
        .initial_token(AccessToken::bearer("first").unwrap().with_expires_in(secs(60)))
        .default_lifetime(secs(60))
        .pause_when_idle(secs(300))
        .build()
        .unwrap();
    refresher.ready().await.unwrap();
    sleep(secs(2000)).await;
    assert_eq!(refresher.status().state, State::Ready);
}

#[tokio::test(start_paused = true)]
async fn file_token_is_read_again_by_schedule_only_if_its_expiry_is_unknown() {
    for is_jwt in [false, true] {
        let (path, clock) = (folder(&format!("schedule-{is_jwt}")).join("token"), TestClock::default());
        fs::write(&path, if is_jwt { jwt(clock.now() + secs(60)) } else { "abc".to_owned() }).unwrap();
        let builder = AuthRefresher::builder(FileToken::new(&path)).clock(clock.clone()).jitter(false);
        let refresher = builder.default_lifetime(secs(60)).build().unwrap();
        refresher.ready().await.unwrap();
        let issued_at = refresher.status().issued_at;
        // A quarter of the life before the token expires.
        sleep(secs(50)).await;
        assert_eq!(refresher.status().issued_at == issued_at, is_jwt);
    }
}
