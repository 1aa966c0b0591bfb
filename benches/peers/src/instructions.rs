//! Makes so many calls of one peer, to be counted by `callgrind`; see `instructions.sh`.

use peers::{
    calls::Calls,
    peers::{ALL, Surroundings, bare},
};

/// Of the peer, or of its bare call.
pub fn make(name: &str, calls: u32, of_bare: bool) {
    let entry = ALL.iter().find(|entry| entry.name == name).expect("no such peer");
    // They last as long as the calls: a peer whose background work has ended may have no token.
    let surroundings = Surroundings::start();
    let peer = (entry.start)(&surroundings);
    counted_calls(if of_bare { peer.own_bare().unwrap_or_else(bare) } else { peer.calls() }, calls);
}

/// What `callgrind` counts, by this name: not how a peer came by its token.
#[inline(never)]
fn counted_calls(mut calls: Calls, times: u32) {
    calls(times);
}
