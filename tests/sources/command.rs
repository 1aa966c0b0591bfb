//! `CommandToken`: how the command runs. The tests use real processes, so they run in real time.

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tower_auth_refresh::{Expiry, sources::CommandToken};

use crate::support::{assert_fails, folder, log_in, secs};

pub(crate) fn shell(script: &str) -> CommandToken {
    CommandToken::new("/bin/sh").args(["-c", script])
}

#[tokio::test]
async fn command_prints_the_token() {
    let token = log_in(shell("echo; echo \"$PREFIX\"abc").env("PREFIX", "of-")).await.unwrap();
    assert_eq!(
        (token.header_value().to_str().unwrap(), token.expiry()),
        ("Bearer of-abc", Expiry::Unknown)
    );
}

#[tokio::test]
async fn arguments_are_not_interpreted_by_a_shell() {
    let token = log_in(CommandToken::new("echo").arg("$HOME;id")).await.unwrap();
    assert_eq!(token.secret(), "$HOME;id");
}

#[tokio::test]
async fn failed_command_is_a_transient_error_that_names_it() {
    let missing = log_in(CommandToken::new("/no/such/program")).await;
    assert_fails(missing, "command /no/such/program: failed to start: ");
    assert_fails(
        log_in(shell("echo s3cr3t; exit 7")).await,
        "command /bin/sh: failed with exit status: 7",
    );
    assert_fails(log_in(shell("echo s3cr3t >&2")).await, "token is empty");
    assert_fails(
        log_in(shell("yes s3cr3t | head -c 2000000")).await,
        "output is larger than 1048576 bytes",
    );
    assert_fails(log_in(shell("kill -9 $$")).await, "signal: 9");
}

/// Set in the process in which the command must not read the standard input.
const WITH_INPUT: &str = "TEST_PROCESS_HAS_INPUT";

#[test]
fn command_cannot_read_the_standard_input_of_the_program() {
    if env::var_os(WITH_INPUT).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = runtime.block_on(log_in(shell(
            "if read line; then echo \"$line\"; else echo end-of-file; fi",
        )));
        assert_eq!(token.unwrap().secret(), "end-of-file");
        return;
    }
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--exact", "command::command_cannot_read_the_standard_input_of_the_program"])
        .env(WITH_INPUT, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe stays open, so a command that reads it does not reach the end.
    let mut input = process.stdin.take().unwrap();
    input.write_all(b"input-of-the-program\n").unwrap();
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn output_that_stays_open_is_not_used_although_it_ends_in_a_newline() {
    let open = "output is still open after the command exited";
    assert_fails(log_in(shell("(sleep 5; echo s3cr3t) & echo s3cr3t")).await, open);
    assert_fails(log_in(shell("(printf s3cr3t; sleep 5; printf more) & sleep 0")).await, open);
}

#[tokio::test]
async fn output_that_closes_soon_after_the_exit_is_used() {
    let token = log_in(shell("(sleep 0.1; echo -and-more) & printf abc")).await.unwrap();
    assert_eq!(token.secret(), "abc-and-more");
}

#[tokio::test]
async fn process_in_the_background_without_the_output_is_not_waited_for() {
    let token = log_in(shell("sleep 1000 >/dev/null & echo $!")).await.unwrap();
    let killed = Command::new("kill").arg(token.secret()).status().unwrap();
    assert!(killed.success());
}

#[tokio::test]
async fn failed_command_is_reported_although_its_output_stays_open() {
    assert_fails(log_in(shell("sleep 5 & exit 3")).await, "exit status: 3");
}

#[tokio::test]
async fn command_that_times_out_is_killed() {
    let path = folder("hangs").join("pid");
    let script = format!("echo $$ > {}; exec sleep 1000", path.display());
    let mut limit = Duration::from_millis(300);
    // On a busy machine it can take longer until the process has written its id.
    let pid = loop {
        assert_fails(
            log_in(shell(&script).timeout(limit)).await,
            &format!("timed out after {limit:?}"),
        );
        match fs::read_to_string(&path) {
            Ok(pid) if pid.ends_with('\n') => break pid,
            _ => limit *= 2,
        }
        assert!(limit < secs(600));
    };
    let stat = format!("/proc/{}/stat", pid.trim());
    if Path::new("/proc/self/stat").exists() {
        // The killed process can remain as a zombie.
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    }
}
