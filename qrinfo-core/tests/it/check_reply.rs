//! Recorded replies answer their own requests and no others.

use crate::support::recording::{Exchange, Recording};
use qrinfo_core::{
    BlockHash, Mismatch, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Reply, Request,
    message::{MnListDiff, QRInfo},
    wire::Wire,
};

/// The request of a client that has the headers: every hash comes from them, every height from the cycle arithmetic.
fn spec(recording: &Recording, exchange: &Exchange) -> QRInfoRequestSpec {
    let network = Network::Regtest;
    let cycles = network.cycles();
    QRInfoRequestSpec {
        network,
        cycle: cycles.start_of(exchange.height),
        base_block_hashes: exchange.base_heights.iter().map(|&height| recording.hash(height)).collect(),
        block_hash: recording.hash(exchange.height),
        extra_share: exchange.extra_share,
        work_block_hashes: [0, 1, 2, 3, 4]
            .map(|back| recording.hash(cycles.work_height_back(cycles.start_of(exchange.height), back).unwrap())),
    }
}

fn qr_info(exchange: &Exchange) -> QRInfo {
    QRInfo::from_wire(exchange.reply.clone().unwrap()).unwrap()
}

fn check(spec: &QRInfoRequestSpec, reply: &QRInfo) -> Result<(), Mismatch> {
    Request::from(spec.clone()).check_reply(&Reply::QrInfo(Box::new(reply.clone())))
}

fn check_recording(recording: &Recording) -> usize {
    let answered: Vec<_> = recording.exchanges.iter().filter(|exchange| exchange.reply.is_some()).collect();
    for exchange in &answered {
        let place = format!("exchange {} of {}", exchange.id, recording.name);
        let (spec, reply) = (spec(recording, exchange), qr_info(exchange));
        let request = Request::from(spec.clone());
        assert!(request.to_message().to_frame().payload == exchange.request, "{place}");
        assert_eq!(check(&spec, &reply), Ok(()), "{place}");

        let flipped = QRInfoRequestSpec { extra_share: !spec.extra_share, ..spec.clone() };
        assert_eq!(check(&flipped, &reply), Err(Mismatch::ExtraShare { expected: !spec.extra_share }), "{place}");

        // With no base sent, what starts neither from genesis nor from another diff's target is out of place.
        let genesis = spec.network.genesis_hash();
        let targets: Vec<_> = reply.diffs().map(|diff| diff.block_hash).collect();
        let is_stranger = |diff: &&MnListDiff| {
            let base = diff.base_block_hash;
            base != genesis && (base == diff.block_hash || !targets.contains(&base))
        };
        let stranger = reply.diffs().find(is_stranger);
        let stranger = stranger.map(|diff| Mismatch::Base { target: diff.block_hash, got: diff.base_block_hash });
        let without = QRInfoRequestSpec { base_block_hashes: Vec::new(), ..spec };
        assert_eq!(check(&without, &reply).err(), stranger, "{place}");
    }
    for pair in answered.windows(2) {
        let (ours, theirs) = (spec(recording, pair[0]), qr_info(pair[1]));
        let expected = ours.work_block_hashes[0];
        if expected != theirs.work_block_hash() {
            let mismatch = Mismatch::WorkBlock { cycles_back: 0, expected, got: theirs.work_block_hash() };
            assert_eq!(check(&ours, &theirs), Err(mismatch));
        }
    }
    answered.len()
}

#[test]
fn kept_replies_answer_their_requests_alone() {
    let counts: Vec<_> = Recording::kept().iter().map(check_recording).collect();
    assert_eq!(counts, [3, 2]);
}

#[test]
fn all_recorded_replies_answer_their_requests_alone() {
    for recording in Recording::full() {
        assert_eq!(check_recording(&recording), recording.replies(), "{}", recording.name);
    }
}

#[test]
fn each_work_block_counts() {
    let recording = &Recording::kept()[1];
    let exchange = &recording.exchanges[0];
    let (spec, reply) = (spec(recording, exchange), qr_info(exchange));
    for back in 0..5 {
        let mut other = spec.clone();
        let got = std::mem::take(&mut other.work_block_hashes[back]);
        let mismatch = Mismatch::WorkBlock { cycles_back: back as u32, expected: BlockHash::ZERO, got };
        assert_eq!(check(&other, &reply), Err(mismatch));
    }
}

#[test]
fn a_base_is_one_that_was_sent_or_genesis_or_another_target_in_any_build_order() {
    let recording = &Recording::kept()[1];
    let exchange = &recording.exchanges[0];
    let (spec, mut reply) = (spec(recording, exchange), qr_info(exchange));
    let extra = reply.extra_share.as_ref().unwrap();
    let below = extra.mn_list_diff_at_h_minus_4c.block_hash;
    // That it lies above only headers tell: this is `qrinfo-verify`'s to refuse.
    let above = reply.mn_list_diff_h.block_hash;
    let target = reply.mn_list_diff_at_h_minus_3c.block_hash;
    for (base, known) in [
        (spec.base_block_hashes[1], true),
        (spec.network.genesis_hash(), true),
        (BlockHash::ZERO, true),
        (below, true),
        (above, true),
        (target, false),
        (BlockHash::from_bytes([7; 32]), false),
        (Network::Mainnet.genesis_hash(), false),
    ] {
        reply.mn_list_diff_at_h_minus_3c.base_block_hash = base;
        let expected = if known { Ok(()) } else { Err(Mismatch::Base { target, got: base }) };
        assert_eq!(check(&spec, &reply), expected, "{base}");
    }
}

#[test]
fn the_tip_of_a_node_that_is_behind_may_be_the_work_block() {
    let recording = &Recording::kept()[1];
    let exchange = &recording.exchanges[0];
    let (spec, mut reply) = (spec(recording, exchange), qr_info(exchange));
    let work_block = reply.work_block_hash();
    reply.mn_list_diff_tip = MnListDiff { base_block_hash: work_block, ..reply.mn_list_diff_h.clone() };
    assert_eq!(check(&spec, &reply), Ok(()));
    // The diff to the work block itself has to start from somewhere.
    reply.mn_list_diff_h.base_block_hash = work_block;
    assert_eq!(check(&spec, &reply), Err(Mismatch::Base { target: work_block, got: work_block }));
}

/// Dash Core 23.1 builds the trailing lists first, and then H-4C from one of them.
#[test]
fn the_oldest_cycle_may_start_from_a_trailing_list() {
    let recording = &Recording::kept()[1];
    let exchange = recording.exchanges.iter().find(|exchange| exchange.id == 308).unwrap();
    let (spec, mut reply) = (spec(recording, exchange), qr_info(exchange));
    let trailing = reply.mn_list_diff_list[0].block_hash;
    reply.mn_list_diff_at_h_minus_3c.base_block_hash = trailing;
    assert_eq!(check(&QRInfoRequestSpec { base_block_hashes: Vec::new(), ..spec }, &reply).err(), None);
}

#[test]
fn genesis_comes_back_in_either_form() {
    let recording = &Recording::kept()[1];
    let diff = qr_info(&recording.exchanges[0]).mn_list_diff_h;
    let genesis = Network::Regtest.genesis_hash();
    for sent in [BlockHash::ZERO, genesis] {
        for got in [BlockHash::ZERO, genesis] {
            let spec = MnListDiffRequestSpec { base_block_hash: sent, block_hash: diff.block_hash };
            let reply = MnListDiff { base_block_hash: got, ..diff.clone() };
            assert_eq!(Request::from(spec).check_reply(&Reply::MnListDiff(Box::new(reply))), Ok(()));
        }
    }
}

#[test]
fn a_reply_without_its_tip_diff_is_as_valid_and_shorter() {
    let recording = &Recording::kept()[1];
    let exchange = &recording.exchanges[0];
    let (spec, mut reply) = (spec(recording, exchange), qr_info(exchange));
    let whole = reply.to_wire().len();
    reply.drop_tip_diff();
    let bytes = reply.to_wire();
    assert!(bytes.len() < whole);
    assert_eq!(QRInfo::from_wire(bytes).unwrap(), reply);
    assert_eq!(check(&spec, &reply), Ok(()));
}

#[test]
fn a_diff_answers_a_request_for_its_blocks() {
    let recording = &Recording::kept()[1];
    let qr_info = qr_info(&recording.exchanges[0]);
    let spec_of_other = Request::from(spec(recording, &recording.exchanges[0]));
    let diff = qr_info.mn_list_diff_h.clone();
    let spec = MnListDiffRequestSpec { base_block_hash: diff.base_block_hash, block_hash: diff.block_hash };
    let reply = Reply::MnListDiff(Box::new(diff));
    let check = |spec: MnListDiffRequestSpec| Request::from(spec).check_reply(&reply);
    assert_eq!(check(spec.clone()), Ok(()));
    assert_eq!(
        check(MnListDiffRequestSpec { block_hash: BlockHash::ZERO, ..spec.clone() }),
        Err(Mismatch::Target { expected: BlockHash::ZERO, got: spec.block_hash })
    );
    assert_eq!(
        check(MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, ..spec.clone() }),
        Err(Mismatch::Base { target: spec.block_hash, got: spec.base_block_hash })
    );
    assert_eq!(spec_of_other.check_reply(&reply), Err(Mismatch::Message { expected: "qrinfo", got: "mnlistdiff" }));
    assert_eq!(
        Request::from(spec).check_reply(&Reply::QrInfo(Box::new(qr_info))),
        Err(Mismatch::Message { expected: "mnlistdiff", got: "qrinfo" })
    );
}
