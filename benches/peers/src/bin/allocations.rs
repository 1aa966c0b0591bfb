//! Prints the allocations that each peer adds to a call, one line each. It is a separate program, because the counting
//! allocator is slower and would affect the times of peers that allocate.

use allocation_counter::measure;
use peers::{
    calls::Calls,
    peers::{ALL, Surroundings, bare},
};

const CALLS: u32 = 1_000;

fn main() {
    let surroundings = Surroundings::start();
    for entry in ALL {
        let peer = (entry.start)(&surroundings);
        println!("{:.1}", per_call(peer.calls()) - per_call(peer.own_bare().unwrap_or_else(bare)));
    }
}

fn per_call(mut calls: Calls) -> f64 {
    // Allocations that happen once are not counted.
    calls(CALLS);
    measure(|| calls(CALLS)).count_total as f64 / f64::from(CALLS)
}
