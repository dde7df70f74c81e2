//! Decodes what a node sent, and says what to ask for next.
use qrinfo_core::{BlockHash, Network, message::GetQRInfo, wire::Wire};

fn main() {
    let cycles = Network::Mainnet.cycles();
    let newest = cycles.start_of(2_240_504);
    println!("the cycle of block 2240504 starts at {}", newest.height());
    println!("its work block is {:?}", cycles.work_height(newest));

    let request = GetQRInfo {
        base_block_hashes: vec![Network::Mainnet.genesis_hash()],
        block_hash: BlockHash::from_bytes([7; 32]),
        extra_share: true,
    };
    let payload = request.to_wire();
    println!("the request has {} bytes", payload.len());
    assert_eq!(GetQRInfo::from_wire(payload.clone()).expect("our own bytes"), request);
    let error = GetQRInfo::from_wire(payload.slice(..40)).expect_err("cut off");
    println!("cut off: {error}");
}
