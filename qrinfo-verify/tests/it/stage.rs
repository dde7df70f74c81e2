//! A reply counts as a whole or not at all, and each way to fail has its name.

use std::collections::BTreeMap;

use crate::common::{headers, spec};
use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Hash256, LlmqType, MnListDiffRequestSpec, Network, ProTxHash, QRInfoRequestSpec, QuorumHash, Reply,
    Request,
    message::{Coinbase, CoinbasePayload, Commitment, DeletedQuorum, MnListDiff, QRInfo, QuorumClSig},
    wire::{Seq, Wire},
};
use qrinfo_verify::{
    ApplyFault, DiffFault, DiffName, Falsehood, HeaderMap, KnownBlock, Level, ListStage, Lists, Missing, ProofFault,
    Unproven, Verified, VerifyError, blocks_named,
};
use spv_testkit::{Answer, CompleteSync, Plan, Recording};

/// A recorded sync, as a client goes through it.
struct Sync {
    recording: Recording,
    headers: HeaderMap,
    exchanges: Vec<(QRInfoRequestSpec, QRInfo)>,
    stage: ListStage,
}

impl Sync {
    fn new(level: Level) -> Self {
        let recording = Recording::bundled().unwrap();
        let is_chained = |sync: &&CompleteSync| sync.plan == Plan::Chained;
        let sync = recording.complete_syncs().iter().find(is_chained).unwrap();
        let exchanges = recording.exchanges_of(sync).map(|exchange| match &exchange.answer {
            Answer::Reply(payload) => (spec(&recording, exchange), QRInfo::from_wire(payload.clone()).unwrap()),
            Answer::Refused => panic!("a refusal in a sync"),
        });
        let exchanges = exchanges.collect();
        let stage = ListStage::new(recording.network(), level);
        Self { headers: headers(&recording), exchanges, stage, recording }
    }

    fn take(&mut self, place: usize) -> Result<Verified, VerifyError> {
        let reply = self.exchanges[place].1.clone();
        self.take_reply(place, reply)
    }

    fn take_reply(&mut self, place: usize, reply: QRInfo) -> Result<Verified, VerifyError> {
        let request = Request::from(self.exchanges[place].0.clone());
        self.stage.apply(&request, &Reply::QrInfo(Box::new(reply)), |hash| self.headers.find(hash))
    }

    fn heights(&self) -> Vec<u32> {
        let mut heights: Vec<_> = self.stage.kept().map(Lists::height).collect();
        heights.sort();
        heights
    }

    fn falsehood(&mut self, place: usize, alter: impl FnOnce(&mut QRInfo)) -> Falsehood {
        let mut reply = self.exchanges[place].1.clone();
        alter(&mut reply);
        match self.take_reply(place, reply) {
            Err(VerifyError::False(falsehood)) => falsehood,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_false_reply_leaves_the_stage_as_it_was() {
    let mut sync = Sync::new(Level::Roots);
    for place in 0..3 {
        sync.take(place).unwrap();
    }
    let before = sync.heights();
    let lists: Vec<_> = before.iter().map(|height| sync.stage.lists(*height).unwrap().clone()).collect();
    // The last diff to be applied is false; those before it are not.
    let falsehood = sync.falsehood(3, |reply| {
        let diff = &mut reply.mn_list_diff_h;
        diff.deleted_masternodes = [ProTxHash::from_bytes([9; 32])].into_iter().collect();
    });
    let fault = DiffFault::Apply(ApplyFault::AbsentMasternode(ProTxHash::from_bytes([9; 32])));
    assert_eq!(falsehood, Falsehood::Diff { diff: DiffName::Cycle { back: 0 }, fault });
    assert_eq!(sync.heights(), before);
    for lists in lists {
        assert_eq!(sync.stage.lists(lists.height()), Some(&lists));
    }
    sync.take(3).unwrap();
}

#[test]
fn a_reply_out_of_order_blames_no_peer() {
    let mut sync = Sync::new(Level::Roots);
    sync.take(0).unwrap();
    let error = sync.take(9).unwrap_err();
    assert!(matches!(error, VerifyError::Missing(Missing::Lists(_))), "{error:?}");
    sync.take(1).unwrap();
}

#[test]
fn headers_that_lack_a_block_blame_no_peer() {
    let mut sync = Sync::new(Level::Roots);
    let (request, reply) = sync.exchanges[0].clone();
    let (request, reply) = (Request::from(request), Reply::QrInfo(Box::new(reply)));
    let work_block = match &request {
        Request::QrInfo(spec) => spec.work_block_hashes[2],
        Request::MnListDiff(_) => unreachable!(),
    };
    let find = |hash: &BlockHash| sync.headers.find(hash).filter(|_| *hash != work_block);
    let error = sync.stage.apply(&request, &reply, find).unwrap_err();
    assert!(matches!(error, VerifyError::Missing(Missing::Header(hash)) if hash == work_block), "{error:?}");
}

/// A store that is asked beforehand for the blocks named serves as well as the whole chain.
#[test]
fn the_blocks_named_are_all_that_is_looked_up() {
    let mut sync = Sync::new(Level::Roots);
    for place in 0..sync.exchanges.len() {
        let (request, reply) = sync.exchanges[place].clone();
        let (request, reply) = (Request::from(request), Reply::QrInfo(Box::new(reply)));
        let named = blocks_named(&request, &reply);
        let mut with_all = sync.stage.clone();
        let all = with_all.apply(&request, &reply, |hash| sync.headers.find(hash)).unwrap();
        let held: Vec<_> = sync.stage.kept().map(Lists::block_hash).collect();
        let verified = sync.stage.apply(&request, &reply, |hash| {
            let is_known = named.contains(hash) || held.contains(hash);
            sync.headers.find(hash).filter(|_| is_known)
        });
        assert_eq!(verified.unwrap().unproven, all.unproven);
    }
}

#[test]
fn blocks_that_left_the_chain_take_their_lists_along() {
    let mut sync = Sync::new(Level::Roots);
    (0..12).for_each(|place| drop(sync.take(place).unwrap()));
    // Kept for a later reply, and not needed by the next.
    let gone = sync.exchanges[6].0.work_block_hashes[0];
    let height = sync.headers.find(&gone).unwrap().height;
    assert!(sync.stage.lists(height).is_some());
    let (spec, reply) = sync.exchanges[12].clone();
    let (request, reply) = (Request::from(spec), Reply::QrInfo(Box::new(reply)));
    let mut beside = sync.stage.clone();
    beside.apply(&request, &reply, |hash| sync.headers.find(hash)).unwrap();
    assert!(beside.lists(height).is_some());
    sync.stage.apply(&request, &reply, |hash| sync.headers.find(hash).filter(|_| *hash != gone)).unwrap();
    assert!(sync.stage.lists(height).is_none());
}

#[test]
fn the_tip_diff_of_another_chain_is_set_aside() {
    let mut sync = Sync::new(Level::Roots);
    let last = sync.exchanges.len() - 1;
    for place in 0..last {
        sync.take(place).unwrap();
    }
    let mut reply = sync.exchanges[last].1.clone();
    reply.mn_list_diff_tip.block_hash = BlockHash::from_bytes([9; 32]);
    reply.mn_list_diff_tip.total_transactions = 0;
    let mut beside = sync.stage.clone();
    let request = Request::from(sync.exchanges[last].0.clone());
    let reply = Reply::QrInfo(Box::new(reply));
    let verified = beside.apply(&request, &reply, |hash| sync.headers.find(hash)).unwrap();
    assert!(verified.tip.is_none() && verified.unproven.contains(&Unproven::TipDiff));

    let verified = sync.take(last).unwrap();
    assert_eq!(verified.tip.map(|lists| lists.height()), Some(sync.recording.tip()));
    assert!(!verified.unproven.contains(&Unproven::TipDiff));
}

#[test]
fn at_structure_no_list_is_built() {
    let mut sync = Sync::new(Level::Structure);
    // Any order will do.
    let verified = sync.take(5).unwrap();
    assert_eq!((verified.lists, verified.unproven), (None, vec![Unproven::Lists]));
    assert_eq!(sync.heights(), [0]);
    assert_eq!(sync.falsehood(5, |reply| reply.mn_list_diff_h.total_transactions = 0).label(), "coinbase proof");
}

#[test]
fn a_coinbase_proof_fails_in_each_of_its_ways() {
    let mut sync = Sync::new(Level::Roots);
    let mut fault = |alter: &dyn Fn(&mut MnListDiff)| match sync.falsehood(0, |reply| alter(&mut reply.mn_list_diff_h))
    {
        Falsehood::Diff { diff: DiffName::Cycle { back: 0 }, fault: DiffFault::Proof(fault) } => fault,
        other => panic!("{other:?}"),
    };
    let hashes = |diff: &MnListDiff| diff.merkle_hashes.to_vec();
    for count in [0, 33_334, u32::MAX] {
        assert_eq!(fault(&|diff| diff.total_transactions = count), ProofFault::TransactionCount(count));
    }
    assert!(matches!(fault(&|diff| diff.total_transactions *= 2), ProofFault::HashCount { .. }));
    assert!(matches!(fault(&|diff| diff.merkle_hashes = Seq::default()), ProofFault::HashCount { got: 0, .. }));
    let more = |diff: &mut MnListDiff| diff.merkle_hashes = hashes(diff).into_iter().chain([Hash256::ZERO]).collect();
    assert!(matches!(fault(&more), ProofFault::HashCount { .. }));
    assert_eq!(fault(&|diff| diff.merkle_flags = Bytes::new()), ProofFault::Flags);
    let with_flags = |change: fn(&mut Vec<u8>)| {
        move |diff: &mut MnListDiff| {
            let mut flags = diff.merkle_flags.to_vec();
            change(&mut flags);
            diff.merkle_flags = flags.into();
        }
    };
    assert_eq!(fault(&with_flags(|flags| flags.push(0))), ProofFault::Flags);
    assert_eq!(fault(&with_flags(|flags| flags[0] |= 0x80)), ProofFault::Flags);
    assert_eq!(fault(&with_flags(|flags| flags[0] &= 0xfe)), ProofFault::Flags);
    let other = |diff: &mut MnListDiff| {
        let first = Hash256::from_bytes([7; 32]);
        diff.merkle_hashes = [first].into_iter().chain(hashes(diff).into_iter().skip(1)).collect();
    };
    assert!(matches!(fault(&other), ProofFault::OtherTransaction { .. }));
    // As if the block had the same transaction twice (CVE-2012-2459).
    let twin = |diff: &mut MnListDiff| {
        let txid = diff.coinbase.txid();
        diff.total_transactions = 2;
        diff.merkle_hashes = [txid, txid].into_iter().collect();
        diff.merkle_flags = Bytes::from_static(&[0b011]);
    };
    assert_eq!(fault(&twin), ProofFault::EqualSiblings);
    let alone = |diff: &mut MnListDiff| {
        diff.total_transactions = 1;
        diff.merkle_hashes = [diff.coinbase.txid()].into_iter().collect();
        diff.merkle_flags = Bytes::from_static(&[1]);
    };
    assert!(matches!(fault(&alone), ProofFault::Root { .. }));
}

#[test]
fn changes_that_do_not_fit_have_their_names() {
    // A reply with new quorums, and the one after it.
    let mut sync = Sync::new(Level::Roots);
    let is_new = |(_, reply): &(_, QRInfo)| !reply.mn_list_diff_h.new_quorums.is_empty();
    let place = 1 + sync.exchanges.iter().skip(1).position(is_new).unwrap();
    (0..place).for_each(|place| drop(sync.take(place).unwrap()));
    let mut fault = |place: usize, alter: &dyn Fn(&mut MnListDiff)| {
        let altered = |reply: &mut QRInfo| {
            let diff = &mut reply.mn_list_diff_h;
            alter(diff);
            let indexes = (0..diff.new_quorums.len() as u16).collect();
            let group = QuorumClSig { signature: [0; 96], indexes };
            diff.quorums_cl_sigs = [group].into_iter().collect();
        };
        let fault = match sync.falsehood(place, altered) {
            Falsehood::Diff { fault: DiffFault::Apply(fault), .. } => fault,
            other => panic!("{other:?}"),
        };
        (fault, sync.stage.clone())
    };
    let gone = ProTxHash::from_bytes([9; 32]);
    let delete = |diff: &mut MnListDiff| diff.deleted_masternodes = [gone].into_iter().collect();
    let (absent, stage) = fault(place, &delete);
    assert_eq!(absent, ApplyFault::AbsentMasternode(gone));
    let entry = stage.kept().max_by_key(|lists| lists.height()).unwrap().masternodes().iter().next().unwrap().clone();
    let twice = |diff: &mut MnListDiff| diff.new_masternodes = [entry.clone(), entry.clone()].into_iter().collect();
    assert_eq!(fault(place, &twice).0, ApplyFault::MasternodeTwice(entry.pro_reg_tx_hash));
    let both = |diff: &mut MnListDiff| {
        diff.deleted_masternodes = [entry.pro_reg_tx_hash].into_iter().collect();
        diff.new_masternodes = [entry.clone()].into_iter().collect();
    };
    assert_eq!(fault(place, &both).0, ApplyFault::MasternodeTwice(entry.pro_reg_tx_hash));

    let quorum = DeletedQuorum { llmq_type: LlmqType(103), quorum_hash: QuorumHash::from_bytes([9; 32]) };
    let delete = |diff: &mut MnListDiff| diff.deleted_quorums = [quorum].into_iter().collect();
    assert_eq!(fault(place, &delete).0, ApplyFault::AbsentQuorum(quorum));
    let twice = |diff: &mut MnListDiff| {
        diff.new_quorums = diff.new_quorums.iter().chain(diff.new_quorums.iter().take(1)).collect();
    };
    assert!(matches!(fault(place, &twice).0, ApplyFault::QuorumTwice(_)));
    let new = sync.exchanges[place].1.mn_list_diff_h.new_quorums.iter().next().unwrap();
    sync.take(place).unwrap();
    let mut reply = sync.exchanges[place + 1].1.clone();
    let diff = &mut reply.mn_list_diff_h;
    diff.new_quorums = [new.clone()].into_iter().collect();
    let group = QuorumClSig { signature: [0; 96], indexes: vec![0] };
    diff.quorums_cl_sigs = [group].into_iter().collect();
    let present = DeletedQuorum { llmq_type: new.llmq_type, quorum_hash: new.quorum_hash };
    let fault = DiffFault::Apply(ApplyFault::PresentQuorum(present));
    match sync.take_reply(place + 1, reply) {
        Err(VerifyError::False(falsehood)) => {
            assert_eq!(falsehood, Falsehood::Diff { diff: DiffName::Cycle { back: 0 }, fault });
        }
        other => panic!("{other:?}"),
    }

    // An update that changes nothing proves nothing false.
    let mut reply = sync.exchanges[place + 1].1.clone();
    let newest = sync.heights().into_iter().max().unwrap();
    let unchanged = sync.stage.lists(newest).unwrap().masternodes().iter().next().unwrap().clone();
    let mut updates = reply.mn_list_diff_h.new_masternodes.to_vec();
    assert!(updates.iter().all(|update| update.pro_reg_tx_hash != unchanged.pro_reg_tx_hash));
    updates.push(unchanged);
    reply.mn_list_diff_h.new_masternodes = updates.into_iter().collect();
    sync.take_reply(place + 1, reply).unwrap();
}

#[test]
fn lists_for_any_block_come_by_mnlistdiff() {
    let mut sync = Sync::new(Level::Roots);
    sync.take(0).unwrap();
    let (spec, reply) = sync.exchanges[1].clone();
    let diff = reply.mn_list_diff_h;
    let request = MnListDiffRequestSpec { base_block_hash: diff.base_block_hash, block_hash: diff.block_hash };
    let reply = Reply::MnListDiff(Box::new(diff.clone()));
    let verified = sync.stage.apply(&request.clone().into(), &reply, |hash| sync.headers.find(hash)).unwrap();
    let lists = verified.lists.unwrap();
    assert_eq!((lists.block_hash(), verified.unproven), (spec.work_block_hashes[0], vec![]));
    assert_eq!(sync.stage.lists(lists.height()), Some(&lists));

    let mut other = diff;
    other.deleted_masternodes = [ProTxHash::from_bytes([9; 32])].into_iter().collect();
    let error = sync.stage.apply(&request.into(), &Reply::MnListDiff(Box::new(other)), |hash| sync.headers.find(hash));
    assert!(matches!(error, Err(VerifyError::False(Falsehood::Diff { diff: DiffName::Requested, .. }))), "{error:?}");
}

impl Sync {
    /// A sync before its last reply, with that reply and its request.
    fn at_the_end(level: Level) -> (Self, QRInfoRequestSpec, QRInfo) {
        let mut sync = Self::new(level);
        let last = sync.exchanges.len() - 1;
        for place in 0..last {
            sync.take(place).unwrap();
        }
        let (spec, reply) = sync.exchanges[last].clone();
        (sync, spec, reply)
    }

    fn ask(&self, spec: &QRInfoRequestSpec, reply: &QRInfo) -> Result<Verified, VerifyError> {
        let reply = Reply::QrInfo(Box::new(reply.clone()));
        self.stage.clone().apply(&Request::from(spec.clone()), &reply, |hash| self.headers.find(hash))
    }

    fn label(&self, spec: &QRInfoRequestSpec, reply: &QRInfo) -> &'static str {
        match self.ask(spec, reply) {
            Err(VerifyError::False(falsehood)) => falsehood.label(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_newest_commitments_cannot_be_hidden() {
    for level in [Level::Roots, Level::Full] {
        let (sync, mut spec, reply) = Sync::at_the_end(level);
        let tip = sync.recording.tip();
        let mut hidden = reply.clone();
        let before = &sync.exchanges[sync.exchanges.len() - 2].1;
        hidden.last_commitment_per_index = before.last_commitment_per_index.clone();
        let mut none = reply.clone();
        none.last_commitment_per_index = Seq::default();
        spec.block_hash = sync.recording.block_hash(tip).unwrap();
        assert!(!sync.ask(&spec, &reply).unwrap().unproven.contains(&Unproven::Newest));
        assert_eq!(sync.label(&spec, &hidden), "commitment in list");
        assert_eq!(sync.label(&spec, &none), "commitment in list");
        // The last of them may have been mined at the tip: for the block before that is unknown, and is reported.
        assert_eq!(*spec.network.rotated_params().mining_window(spec.cycle.height()).end(), tip);
        spec.block_hash = sync.recording.block_hash(tip - 1).unwrap();
        for reply in [&reply, &hidden] {
            assert!(sync.ask(&spec, reply).unwrap().unproven.contains(&Unproven::Newest));
        }
    }
}

/// For history that is unknown, and is reported.
#[test]
fn that_commitments_are_the_newest_is_unproven_without_a_later_list() {
    let mut sync = Sync::new(Level::Roots);
    for place in 0..5 {
        assert!(sync.take(place).unwrap().unproven.contains(&Unproven::Newest));
    }
}

#[test]
fn a_commitment_is_not_mined_before_its_window() {
    let (sync, mut spec, mut reply) = Sync::at_the_end(Level::Roots);
    spec.block_hash = sync.recording.block_hash(spec.cycle.height() + 3).unwrap();
    assert_eq!(sync.label(&spec, &reply), "commitment block");
    // One that exists nowhere, within its window and behind an unknown tip, is at least not called proven.
    spec.block_hash = sync.recording.block_hash(spec.cycle.height() + 15).unwrap();
    reply.mn_list_diff_tip.block_hash = BlockHash::from_bytes([9; 32]);
    let unproven = sync.ask(&spec, &reply).unwrap().unproven;
    assert!(unproven.contains(&Unproven::Newest), "{unproven:?}");
}

/// A commitment that no list of a later block has was never mined.
#[test]
fn a_commitment_that_a_later_list_lacks_was_never_mined() {
    let (sync, mut spec, mut reply) = Sync::at_the_end(Level::Roots);
    // The list at the tip is that of a block before the quorums of the cycle were mined.
    let from = *spec.network.rotated_params().mining_window(spec.cycle.height()).start();
    spec.block_hash = sync.recording.block_hash(from).unwrap();
    let mut forged = reply.last_commitment_per_index.to_vec();
    forged[0].quorum_hash = QuorumHash::from_bytes(*sync.recording.block_hash(spec.cycle.height()).unwrap().as_bytes());
    forged[0].quorum_public_key = [7; 48];
    reply.last_commitment_per_index = forged.into_iter().collect();
    assert_eq!(sync.label(&spec, &reply), "commitment in list");
}

#[test]
fn a_tip_below_the_work_block_is_false() {
    let (sync, spec, mut reply) = Sync::at_the_end(Level::Roots);
    reply.mn_list_diff_tip = reply.mn_list_diff_at_h_minus_c.clone();
    assert_eq!(sync.label(&spec, &reply), "target block");
}

/// At any depth: if the requested block has left our chain, no peer is to blame.
#[test]
fn a_reorganisation_blames_no_peer() {
    let (sync, spec, reply) = Sync::at_the_end(Level::Roots);
    let (tip, reply) = (sync.recording.tip(), Reply::QrInfo(Box::new(reply)));
    for depth in 1..40 {
        let find = |hash: &BlockHash| sync.headers.find(hash).filter(|block| block.height + depth <= tip);
        let error = sync.stage.clone().apply(&Request::from(spec.clone()), &reply, find).unwrap_err();
        assert!(matches!(error, VerifyError::Missing(Missing::Header(_))), "{depth}: {error:?}");
    }
}

/// A `mnlistdiff` of a made-up block.
fn made_up(height: u32, version: u16, base: BlockHash, quorums: Seq<Commitment>) -> (MnListDiff, KnownBlock) {
    let coinbase = Coinbase::new(CoinbasePayload {
        version,
        height: i32::try_from(height).unwrap(),
        merkle_root_mn_list: Hash256::ZERO,
        merkle_root_quorums: (version >= 2).then_some(Hash256::ZERO),
        credit_pool: None,
    });
    let mut hash = [0xee; 32];
    hash[..4].copy_from_slice(&height.to_le_bytes());
    let merkle_root = coinbase.txid();
    let diff = MnListDiff {
        merkle_hashes: [merkle_root].into_iter().collect(),
        merkle_flags: Bytes::from_static(&[1]),
        coinbase,
        new_quorums: quorums,
        ..MnListDiff::empty(base, BlockHash::from_bytes(hash))
    };
    (diff, KnownBlock { height, merkle_root })
}

/// However many lists come by `mnlistdiff`, those that the plan starts from stay.
#[test]
fn other_lists_do_not_push_out_those_of_the_plan() {
    let mut sync = Sync::new(Level::Roots);
    for place in 0..12 {
        sync.take(place).unwrap();
    }
    let mut own = BTreeMap::new();
    for height in 10_000..10_040 {
        let (diff, block) = made_up(height, 2, BlockHash::ZERO, Seq::default());
        own.insert(diff.block_hash, block);
        let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: diff.block_hash };
        let find = |hash: &BlockHash| sync.headers.find(hash).or_else(|| own.get(hash).copied());
        sync.stage.apply(&spec.into(), &Reply::MnListDiff(Box::new(diff)), find).unwrap();
    }
    // Two of them are at work blocks.
    assert_eq!(sync.heights().iter().filter(|height| **height >= 10_000).count(), 32 + 2);
    sync.take(12).unwrap();
}

/// A client that asks for the lists of each block has those that the next `qrinfo` starts from.
#[test]
fn lists_at_work_blocks_outlast_those_of_other_blocks() {
    let network = Network::Regtest;
    let mut stage = ListStage::new(network, Level::Roots);
    let mut own = BTreeMap::new();
    for height in 10_000..10_400 {
        let (diff, block) = made_up(height, 2, BlockHash::ZERO, Seq::default());
        own.insert(diff.block_hash, block);
        let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: diff.block_hash };
        let find = |hash: &BlockHash| own.get(hash).copied();
        stage.apply(&spec.into(), &Reply::MnListDiff(Box::new(diff)), find).unwrap();
    }
    let mut kept: Vec<_> = stage.kept().map(Lists::height).filter(|height| *height < 10_360).collect();
    kept.sort_unstable();
    let work_blocks = (10_216..10_360).step_by(24);
    assert_eq!(kept, [0].into_iter().chain(work_blocks).collect::<Vec<_>>());
}

/// Quorums that no coinbase commits to are nothing to start from.
#[test]
fn quorums_without_a_root_are_not_kept() {
    let mut sync = Sync::new(Level::Full);
    let stray = sync.exchanges[63].1.last_commitment_per_index.clone();
    let (diff, block) = made_up(100, 1, BlockHash::ZERO, stray);
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: diff.block_hash };
    let find = |_: &BlockHash| Some(block);
    let verified = sync.stage.apply(&spec.into(), &Reply::MnListDiff(Box::new(diff)), find).unwrap();
    assert!(verified.unproven.contains(&Unproven::Quorums { height: 100 }));
    assert_eq!((verified.lists.unwrap().height(), sync.heights()), (100, vec![0]));
}

#[test]
fn a_stage_has_the_level_that_it_was_made_with() {
    for level in [Level::Roots, Level::Full] {
        assert_eq!(ListStage::new(Network::Regtest, level).level(), level);
    }
}
