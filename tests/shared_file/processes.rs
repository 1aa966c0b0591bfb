//! Several processes at the same time.

use crate::{
    process::Process,
    support::{KEY, TempDir, number},
};
use tower_auth_refresh::shared::TokenStore;

#[test]
fn one_of_two_processes_is_granted_the_claim() {
    let directory = TempDir::new();
    let mut processes = [(); 2].map(|()| Process::start("claim", &directory.0));
    for process in &mut processes {
        assert_eq!(process.line(), "ready");
    }
    for round in 0..100 {
        for (claim, process) in processes.iter_mut().enumerate() {
            process.send(&format!("{round} {claim}"));
        }
        let mut outcomes = processes.each_mut().map(Process::line);
        outcomes.sort();
        // An hour, less some seconds, in whole minutes.
        assert_eq!(outcomes, ["denied 59", "granted"], "{round}");
    }
}

#[tokio::test]
async fn processes_lose_no_update() {
    let directory = TempDir::new();
    let processes = [(); 4].map(|()| Process::start("count", &directory.0));
    processes.into_iter().for_each(Process::succeed);
    let record = directory.store().load(&KEY.get()).await.unwrap().unwrap();
    assert_eq!(number(record.revision), 4 * 25);
}
