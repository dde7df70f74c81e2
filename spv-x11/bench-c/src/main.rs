//! Hashes per second of `spv-x11`, of the C implementation in `rs-x11-hash` (sphlib) and of the Rust implementation in
//! `dash-pow`.
//!
//! They take turns for several rounds, so that a change of the processor's clock meets all; the medians are compared.

use std::time::Instant;

use digest::Digest;

const ROUNDS: usize = 21;
const HASHES: usize = 10_000;

type Hash = fn(&[u8; 80]) -> [u8; 32];

fn main() {
    let hashes: [(&str, Hash); 3] = [
        ("spv-x11", |header| spv_x11::x11(header)),
        ("rs-x11-hash", |header| rs_x11_hash::get_x11_hash(header)),
        ("dash-pow", |header| dash_pow::X11::digest(header).into()),
    ];
    let [ours, others @ ..] = hashes.map(|(_, hash)| run(hash, 1_000));
    assert!(others.iter().all(|other| *other == ours), "the implementations disagree");

    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (rates, (_, hash)) in rates.iter_mut().zip(hashes) {
            rates.push(rate(hash));
        }
    }
    let medians = rates.map(median);
    for ((name, _), rate) in hashes.iter().zip(medians) {
        println!("{name:<12} {rate:>9.0} hashes/s; spv-x11 is {:.2} times as fast", medians[0] / rate);
    }
    println!("medians of {ROUNDS} rounds of {HASHES} hashes");
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
