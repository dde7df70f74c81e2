//! X11 against the chains of real nodes: the hash of a header is what the next header names as its
//! predecessor.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hex_literal::hex;
use spv_x11::x11;
use std::fs;
use std::path::PathBuf;

const HEADER: usize = 80;
const HASH: usize = 32;

/// Headers of two regtest chains, spread over their length, each with its hash.
#[test]
fn committed_headers() {
    let (records, rest) = include_bytes!("data/headers.bin").as_chunks::<{ HEADER + HASH }>();
    assert_eq!((records.len(), rest.len()), (24, 0));
    for (i, record) in records.iter().enumerate() {
        let (header, hash) = record.split_at(HEADER);
        assert_eq!(x11(header), hash, "record {i}");
    }
}

#[test]
fn mainnet_genesis() {
    let header = hex!(
        "01000000"
        "0000000000000000000000000000000000000000000000000000000000000000"
        "c762a6567f3cc092f0684bb62b7e00a84890b990f07cc71a6bb58d64b98e02e0"
        "022ddb52"
        "f0ff0f1e"
        "c23fb901"
    );
    let mut hash = x11(&header);
    hash.reverse();
    assert_eq!(hash, hex!("00000ffd590b1485b3caadc19b22e6379c733355108f107a430458cdf3407ab6"));
}

#[test]
fn regtest_chain() {
    whole_chain("regtest", 1_773);
}

#[test]
fn regtest_chain_with_churn() {
    whole_chain("regtest-churn", 1_824);
}

/// Every header of a recorded chain. The recordings are not part of the repository; the committed
/// headers are what is left to test without them.
fn whole_chain(name: &str, length: usize) {
    let shared = std::env::var_os("SPV_TEST_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let chain = shared.join("vectors").join(name);
    let (headers, exchanges) = (chain.join("headers.bin"), chain.join("exchanges.json"));
    if !headers.exists() {
        eprintln!("{} is missing: only the committed headers are tested", headers.display());
        return;
    }
    let headers = fs::read(headers).unwrap();
    let (headers, rest) = headers.as_chunks::<HEADER>();
    assert_eq!((headers.len(), rest.len()), (length, 0));

    for (height, pair) in headers.windows(2).enumerate() {
        assert_eq!(x11(&pair[0]), pair[1][4..36], "height {height}");
    }
    let tip: String = x11(&headers[length - 1]).iter().rev().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(tip, tip_hash(&fs::read_to_string(exchanges).unwrap()));
}

/// The value of `tip_hash`, which occurs once in the file.
fn tip_hash(json: &str) -> &str {
    let (_, after) = json.split_once("\"tip_hash\"").unwrap();
    after.split('"').nth(1).unwrap()
}
