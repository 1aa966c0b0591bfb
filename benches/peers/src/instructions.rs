//! Makes calls of one peer, whose instructions `callgrind` counts; see `instructions.sh`.

use peers::{
    calls::Calls,
    peers::{ALL, Surroundings, bare},
};

/// Selects the peer or its bare call.
pub fn make(name: &str, calls: u32, of_bare: bool) {
    let entry = ALL.iter().find(|entry| entry.name == name).expect("no such peer");
    // They outlive the calls, because a peer whose background task has ended may have no token.
    let surroundings = Surroundings::start();
    let peer = (entry.start)(&surroundings);
    counted_calls(if of_bare { peer.own_bare().unwrap_or_else(bare) } else { peer.calls() }, calls);
}

/// The function that `callgrind` counts. It excludes how a peer gets its token.
#[inline(never)]
fn counted_calls(mut calls: Calls, times: u32) {
    calls(times);
}
