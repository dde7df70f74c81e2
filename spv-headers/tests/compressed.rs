//! Compressed headers of real chains.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs::File, io::BufReader, path::Path};

use qrinfo_core::{
    BlockHash, BlockHeader,
    message::{Headers, Headers2, MAX_HEADERS, MAX_HEADERS2},
    wire::Wire,
};
use spv_testkit::Recording;

fn x11(header: &BlockHeader) -> BlockHash {
    BlockHash::from_bytes(spv_x11::x11(header.as_bytes()))
}

/// The bytes of the plain and of the compressed messages for these headers, which read back.
fn sizes(headers: &[BlockHeader]) -> (usize, usize) {
    let plain = headers.chunks(MAX_HEADERS).map(|headers| Headers(headers.to_vec()).to_wire().len()).sum();
    let compressed = headers.chunks(MAX_HEADERS2).map(|headers| {
        let wire = Headers2::compress(headers).to_wire();
        assert_eq!(Headers2::from_wire(wire.clone()).unwrap().decompress(x11), headers);
        wire.len()
    });
    (plain, compressed.sum())
}

#[test]
fn recorded_headers_read_back_in_about_half_the_bytes() {
    let mut recordings = vec![Recording::bundled().unwrap()];
    recordings
        .extend(["regtest", "regtest-churn", "regtest-v3"].iter().filter_map(|name| Recording::shared(name).unwrap()));
    for recording in recordings {
        let headers: Vec<_> = recording.headers().iter().map(|header| BlockHeader::from_bytes(*header)).collect();
        let (plain, compressed) = sizes(&headers);
        assert!(compressed * 100 < plain * 50, "{compressed} of {plain} bytes");
    }
}

/// On testnet and mainnet each header has a target of its own: 43 bytes in place of 81.
#[test]
fn real_testnet_headers_read_back_in_about_half_the_bytes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/testnet/testnet_942249_947248.bin.xz");
    let Ok(file) = File::open(path) else {
        eprintln!("skipped: ../shared/vectors/testnet is not there");
        return;
    };
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut BufReader::new(file), &mut bytes).unwrap();
    let headers: Vec<_> = bytes.as_chunks::<80>().0.iter().map(|header| BlockHeader::from_bytes(*header)).collect();
    let (plain, compressed) = sizes(&headers);
    assert!(compressed * 100 < plain * 54, "{compressed} of {plain} bytes");
}
