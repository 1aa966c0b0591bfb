//! Prints how many allocations each peer adds to a call, a line for each. A program of its own: the allocator that
//! counts is slower, and would weigh on whoever allocates.

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
    // What is made once is not counted.
    calls(CALLS);
    measure(|| calls(CALLS)).count_total as f64 / f64::from(CALLS)
}
