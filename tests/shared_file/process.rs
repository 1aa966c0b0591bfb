//! Starts this test binary as another process, which runs one of the functions below.
//!
//! The processes write their lines to standard error, because the test harness writes to standard output.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    time::Duration,
};

use tower_auth_refresh::shared::{ClaimOutcome, FileTokenStore, NewRecord, Revision, TokenStore};

use crate::support::{HOUR, KEY, RecordKeyNumber, file_error, id, number, revision};

const ROLE: &str = "SHARED_FILE_ROLE";
const DIRECTORY: &str = "SHARED_FILE_DIRECTORY";

/// Long enough for an operation, and short enough for the processes after one that has failed.
const MINUTE: Duration = Duration::from_secs(60);

/// Another process. It is killed on drop.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: BufReader<ChildStderr>,
}

impl Process {
    pub(crate) fn start(role: &str, directory: &Path) -> Self {
        Self::spawn(Command::new(env::current_exe().unwrap()), role, directory)
    }

    pub(crate) fn spawn(mut command: Command, role: &str, directory: &Path) -> Self {
        let mut child = command
            .args(["process::run_role", "--exact", "--nocapture"])
            .env(ROLE, role)
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, input, lines }
    }

    /// Waits for the next line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the process has ended");
        line.trim_end().to_owned()
    }

    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Sends SIGKILL, and waits for the end.
    pub(crate) fn kill(self) {}

    pub(crate) fn succeed(mut self) {
        drop(self.input.take());
        let mut rest = String::new();
        io::Read::read_to_string(&mut self.lines, &mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does nothing in the test run itself.
#[test]
fn run_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let store = FileTokenStore::new(env::var_os(DIRECTORY).unwrap()).timeout(HOUR);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // A process that is never killed, because its test has failed, ends all the same.
        tokio::time::timeout(Duration::from_secs(300), run(&role, store)).await.unwrap();
    });
}

async fn run(role: &str, store: FileTokenStore) {
    match role {
        "claim" => claim(store).await,
        "count" => count(store).await,
        "put" => put(store).await,
        "read-only" => read_only(store).await,
        #[cfg(feature = "oauth2")]
        "rotate" => crate::refresh_token::rotate(store).await,
        #[cfg(feature = "oauth2")]
        "send" => crate::refresh_token::send(store).await,
        role => panic!("{role}"),
    }
}

/// For each line with the number of a key and of a claim: claims.
async fn claim(store: FileTokenStore) {
    eprintln!("ready");
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let (key, claim) = line.split_once(' ').unwrap();
        let key = RecordKeyNumber(key.parse().unwrap()).get();
        match store.claim(&key, None, id(claim.parse().unwrap()), HOUR).await.unwrap() {
            ClaimOutcome::Granted => eprintln!("granted"),
            ClaimOutcome::Denied { expires_in } => {
                eprintln!("denied {}", expires_in.as_secs() / 60)
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Claims with a new id, waits for other processes, and replaces the record by the next. Returns its number.
async fn put_next(store: &FileTokenStore, claim: u64) -> u64 {
    let mut expected: Option<Revision> = None;
    loop {
        match store.claim(&KEY.get(), expected, id(claim), MINUTE).await.unwrap() {
            ClaimOutcome::Changed(record) => expected = record.map(|record| record.revision),
            ClaimOutcome::Denied { .. } => tokio::time::sleep(Duration::from_millis(1)).await,
            ClaimOutcome::Granted => break,
            other => panic!("{other:?}"),
        }
    }
    let next = expected.map_or(0, number) + 1;
    let record = NewRecord::new(revision(next), content(next));
    assert!(
        store.put(&KEY.get(), expected, id(claim), record).await.unwrap(),
        "the claim was lost"
    );
    next
}

/// The content of a record: up to a million bytes, so that a write takes long enough to be interrupted.
pub(crate) fn content(number: u64) -> Vec<u8> {
    vec![number as u8; (number * 7919 * 101 % 1_000_000) as usize]
}

/// Increments the number 25 times.
async fn count(store: FileTokenStore) {
    for n in 0..25 {
        put_next(&store, u64::from(std::process::id()) << 32 | n).await;
    }
}

/// Puts one record after another. Its claims are those of one process, so they need not end after a kill.
async fn put(store: FileTokenStore) {
    loop {
        let put = put_next(&store, 7).await;
        eprintln!("{put}");
    }
}

async fn read_only(store: FileTokenStore) {
    let key = KEY.get();
    let record = store.load(&key).await.unwrap().unwrap();
    let changed = store.claim(&key, None, id(1), HOUR).await.unwrap();
    assert!(matches!(changed, ClaimOutcome::Changed(Some(_))), "{changed:?}");
    let expected = Some(record.revision);
    let new = NewRecord::new(revision(2), &b"new"[..]);
    for error in [
        store.claim(&key, expected, id(1), HOUR).await.unwrap_err(),
        store.extend(&key, id(1), HOUR).await.unwrap_err(),
        store.release(&key, id(1)).await.unwrap_err(),
        store.put(&key, expected, id(1), new).await.unwrap_err(),
    ] {
        let error = file_error(error);
        assert!(error.is_read_only(), "{error:?}");
    }
    eprintln!("{}", String::from_utf8_lossy(&record.bytes));
}
