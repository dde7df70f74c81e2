//! Every target over its corpus and over alterations of it, with a bound on memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path};

use fastrand::Rng;
use qrinfo_fuzz::{TARGETS, Target};
use spv_testkit::{Answer, Recording};

/// Alterations of each input; `SPV_TEST_ALTERATIONS` sets another number.
const ALTERATIONS: u64 = 40;

/// Bytes that a target may hold for inputs of at most 64 KiB, the image of a store aside.
const MOST_BYTES: u64 = 64 << 20;

#[test]
fn every_target_returns_for_its_corpus_and_alterations_of_it() {
    let alterations = std::env::var("SPV_TEST_ALTERATIONS").ok().and_then(|text| text.parse().ok());
    for (name, target) in TARGETS {
        for (number, input) in (0..).zip(corpus(name)) {
            try_input(name, target, &input);
            let mut rng = Rng::with_seed(number);
            // Opening a database costs milliseconds.
            let count = alterations.unwrap_or(if name == "store" { 10 } else { ALTERATIONS });
            for _ in 0..count {
                try_input(name, target, &altered(&input, &mut rng));
            }
        }
    }
}

fn try_input(name: &str, target: Target, input: &[u8]) {
    let mut outcome = Ok(());
    let memory = allocation_counter::measure(|| {
        outcome = std::panic::catch_unwind(|| target(input)).map_err(|_| ());
    });
    if outcome.is_err() || memory.bytes_max > MOST_BYTES {
        let path = std::env::temp_dir().join(format!("qrinfo-fuzz-{name}"));
        fs::write(&path, input).unwrap();
        panic!("{name}: {outcome:?}, {} bytes at most; the input is in {}", memory.bytes_max, path.display());
    }
}

/// The files of the corpus, and messages of the bundled recording.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut inputs: Vec<Vec<u8>> =
        fs::read_dir(directory).into_iter().flatten().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    let mut rng = Rng::with_seed(1);
    match name {
        "wire" | "replies" | "frames" => {
            let recording = Recording::bundled().unwrap();
            let replies = recording.exchanges().iter().filter_map(|exchange| match &exchange.answer {
                Answer::Reply(payload) => Some(payload.clone()),
                _ => None,
            });
            for payload in replies.take(12) {
                for choices in 0..if name == "replies" { 8 } else { 1 } {
                    let mut input = vec![choices];
                    if name == "frames" {
                        input.extend([1, 16, 0, payload.len() as u8, (payload.len() >> 8) as u8]);
                    }
                    input.extend(&payload);
                    inputs.push(input);
                }
            }
        }
        "config" => inputs.push(include_bytes!("../../spv-config/client.toml").to_vec()),
        _ => inputs.extend((0..40).map(|_| (0..rng.usize(10..600)).map(|_| rng.u8(..)).collect())),
    }
    inputs.push(Vec::new());
    inputs
}

/// The input with a few bits, bytes or places changed.
fn altered(input: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..=bytes.len());
        match rng.u8(..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, [0, 1, 0x7f, 0xfd, 0xff][rng.usize(..5)]),
            _ => {
                let end = (at + rng.usize(..64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}
