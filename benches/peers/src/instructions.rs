//! Makes calls of one peer, whose instructions `callgrind` counts; see `instructions.sh`.

use std::error::Error;

use peers::{
    calls::Calls,
    peers::{Group, Surroundings},
};

/// Selects the peer or its bare call.
pub fn make(group: &Group, name: &str, calls: u32, of_bare: bool) -> Result<(), Box<dyn Error>> {
    let entry = group.entries.iter().find(|entry| entry.name == name).ok_or("no such peer")?;
    // They outlive the calls, because a peer whose background task has ended may have no token.
    let surroundings = Surroundings::start();
    let peer = (entry.start)(&surroundings);
    let bare = || peer.own_bare().unwrap_or_else(group.bare);
    counted_calls(if of_bare { bare() } else { peer.calls() }, calls);
    Ok(())
}

/// The function that `callgrind` counts. It excludes how a peer gets its token.
#[inline(never)]
fn counted_calls(mut calls: Calls, times: u32) {
    calls(times);
}
