//! Hashes per second of `spv-x11` and of the C implementation in `rs-x11-hash` (sphlib).
//!
//! The two take turns for several rounds, so that a change of the processor's clock meets both;
//! the medians are compared.

use std::time::Instant;

const ROUNDS: usize = 21;
const HASHES: usize = 10_000;

type Hash = fn(&[u8; 80]) -> [u8; 32];

fn main() {
    let rust: Hash = |header| spv_x11::x11(header);
    let c: Hash = |header| rs_x11_hash::get_x11_hash(header);
    assert_eq!(run(rust, 1_000), run(c, 1_000), "the two disagree");

    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (rates, hash) in rates.iter_mut().zip([rust, c]) {
            rates.push(rate(hash));
        }
    }
    let [rust, c] = rates.map(median);
    println!("spv-x11      {rust:>9.0} hashes/s");
    println!("rs-x11-hash  {c:>9.0} hashes/s");
    println!("ratio        {:>9.2}  (medians of {ROUNDS} rounds of {HASHES} hashes)", rust / c);
}

/// A chain of headers, each with the hash of the one before it: no two inputs are the same.
fn run(hash: Hash, count: usize) -> [u8; 80] {
    let mut header = [0x5a; 80];
    for _ in 0..count {
        let previous = hash(&header);
        header[4..36].copy_from_slice(&previous);
    }
    header
}

#[allow(clippy::disallowed_methods, reason = "a measurement of real time")]
fn rate(hash: Hash) -> f64 {
    let start = Instant::now();
    std::hint::black_box(run(hash, HASHES));
    HASHES as f64 / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
