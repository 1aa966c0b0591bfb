//! Times all peers of a group in turn.

use std::{env, process::Command};

use peers::{
    calls::Calls,
    peers::{Group, Running, Surroundings},
    timing::{Case, interleave},
};

const ROUNDS: usize = 301;
const CALLS: u32 = 2_000;

const THREADS: usize = 2;
const THREADED_ROUNDS: usize = 41;
/// A large number, because threads take time to start.
const THREADED_CALLS: u32 = 20_000;

/// The overhead of one peer.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub package: &'static str,
    /// Nanoseconds added to a call on one thread.
    pub added: f64,
    /// Nanoseconds of the peer's own bare call, if it has one.
    pub own_bare: Option<f64>,
    pub allocations: String,
    /// Millions of calls per second on two threads together.
    pub rate: f64,
}

#[derive(Debug)]
pub struct Results {
    pub group: &'static Group,
    /// In ascending order of the overhead.
    pub rows: Vec<Row>,
    /// Nanoseconds of a call of the inner service alone.
    pub bare: f64,
    pub bare_rate: f64,
}

/// # Panics
///
/// A peer does not set the token.
pub fn all(name: &str, group: &'static Group) -> Results {
    let surroundings = Surroundings::start();
    let running: Vec<_> = group.entries.iter().map(|entry| (entry.start)(&surroundings)).collect();
    for (entry, peer) in group.entries.iter().zip(&running) {
        assert!(peer.carries_token(), "{} does not put the token on", entry.name);
    }
    let times = times(group.bare, &running);
    let rates = rates(group.bare, &running);
    let allocations = allocations(name);
    assert_eq!(allocations.len(), group.entries.len());
    let rows = group.entries.iter().enumerate().map(|(i, entry)| {
        let (with, own_bare) = times.peers[i];
        Row {
            name: entry.name,
            package: entry.package,
            added: with - own_bare.unwrap_or(times.bare),
            own_bare,
            allocations: allocations[i].clone(),
            rate: rates[i + 1],
        }
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| a.added.total_cmp(&b.added));
    Results { group, rows, bare: times.bare, bare_rate: rates[0] }
}

struct Times {
    bare: f64,
    /// The peer, and its own bare call.
    peers: Vec<(f64, Option<f64>)>,
}

fn times(bare: fn() -> Calls, running: &[Box<dyn Running>]) -> Times {
    let mut cases = vec![Case::new("bare", bare())];
    let mut places = Vec::new();
    for peer in running {
        cases.push(Case::new("with", peer.calls()));
        let with = cases.len() - 1;
        let own_bare = peer.own_bare().map(|calls| {
            cases.push(Case::new("own bare", calls));
            cases.len() - 1
        });
        places.push((with, own_bare));
    }
    interleave(&mut cases, ROUNDS, CALLS);
    let median = |place: usize| cases[place].median();
    let peers =
        places.into_iter().map(|(with, own_bare)| (median(with), own_bare.map(median))).collect();
    Times { bare: median(0), peers }
}

/// The bare call is the first.
fn rates(bare: fn() -> Calls, running: &[Box<dyn Running>]) -> Vec<f64> {
    let mut cases = vec![Case::threaded("bare", THREADS, bare)];
    cases.extend(running.iter().map(|peer| Case::threaded("with", THREADS, || peer.calls())));
    interleave(&mut cases, THREADED_ROUNDS, THREADED_CALLS);
    cases.iter().map(|case| THREADS as f64 * 1e3 / case.median()).collect()
}

/// Another program counts them, because counting slows down each allocation.
fn allocations(group: &str) -> Vec<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--bin", "allocations", group])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = String::from_utf8(output.stdout).expect("counts are printed");
    counts.lines().map(String::from).collect()
}
