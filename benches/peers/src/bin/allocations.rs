//! Prints the allocations that each peer of a group adds to a call, one line each. It is a separate program, because the counting
//! allocator is slower and would affect the times of peers that allocate.

use std::env;

use allocation_counter::measure;
use peers::{
    calls::Calls,
    peers::{Group, Surroundings},
};

const CALLS: u32 = 1_000;

fn main() {
    let group =
        env::args().nth(1).and_then(|name| Group::named(&name)).expect("the name of a group");
    let surroundings = Surroundings::start();
    for entry in group.entries {
        let peer = (entry.start)(&surroundings);
        let bare = peer.own_bare().unwrap_or_else(group.bare);
        println!("{:.1}", per_call(peer.calls()) - per_call(bare));
    }
}

fn per_call(mut calls: Calls) -> f64 {
    // Allocations that happen once are not counted.
    calls(CALLS);
    measure(|| calls(CALLS)).count_total as f64 / f64::from(CALLS)
}
