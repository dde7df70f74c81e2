//! Blocks without lists, in which quorums may have come and gone.

use qrinfo::book::{Lookup, QuorumBook};
use qrinfo_core::{Devnet, LlmqParams, Network};
use spv_testkit::{SyntheticChain, SyntheticParams};

use crate::lists::ListsByHeight;

/// A quorum of cycle 300 may be mined behind block 313 and replaced by block 342. By the parameters that devnets have by
/// default, whose cycles have 48 blocks, no quorum would be missed.
#[test]
fn a_devnets_own_parameters_tell_what_may_be_missed() {
    let rotated = LlmqParams { interval: 30, active: 3, ..LlmqParams::LLMQ_DEVNET_DIP0024 };
    let network = Network::Devnet(Devnet::default().with_rotated(rotated).unwrap());
    let params = SyntheticParams { network, tip: 360, masternodes: 20, failed_dkgs: 0.0, ..SyntheticParams::regtest() };
    let chain = SyntheticChain::generate(5, &params).chain;
    let (mut writer, book) = QuorumBook::new(network);
    let lists = ListsByHeight::new(&chain);
    assert!(lists.advance(&mut writer, 313) && lists.advance(&mut writer, 345));
    assert_eq!(book.active(rotated.llmq_type, 330), Lookup::Unknown);
    assert!(book.active(rotated.llmq_type, 345).found().is_some());
}
