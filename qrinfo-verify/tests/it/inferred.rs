//! Replies whose request is not known.

use crate::common;
use std::collections::BTreeSet;

use crate::common::{headers, recordings, reply, spec};
use qrinfo_core::{
    BlockHash, Network, Reply, Request,
    message::{GetQRInfo, MnListDiff, NetworkMessage, PROTOCOL_VERSION, QRInfo},
    wire::Wire,
};
use qrinfo_verify::{
    Falsehood, HeaderMap, KnownBlock, Level, ListStage, Missing, Verified, VerifyError, infer_request,
};
use spv_testkit::{Chain, Recording, builder};

struct Ours {
    network: Network,
    headers: HeaderMap,
    hashes: Vec<BlockHash>,
    first: u32,
    last: u32,
}

impl Ours {
    fn of(recording: &Recording) -> Self {
        let hashes = (0..=recording.tip()).map(|height| recording.block_hash(height).unwrap()).collect();
        Self { network: recording.network(), headers: headers(recording), hashes, first: 0, last: u32::MAX }
    }

    fn find(&self, hash: &BlockHash) -> Option<KnownBlock> {
        self.headers.find(hash).filter(|block| (self.first..=self.last).contains(&block.height))
    }

    fn infer(&self, reply: &Reply) -> Result<Request, Missing> {
        let is_known = |height: &u32| (self.first..=self.last).contains(height);
        let hash_at = |height: u32| self.hashes.get(Some(height).filter(is_known)? as usize).copied();
        infer_request(self.network, reply, |hash| self.find(hash), hash_at)
    }

    fn judge(&self, stage: &mut ListStage, reply: &Reply) -> Result<Verified, VerifyError> {
        stage.apply(&self.infer(reply)?, reply, |hash| self.find(hash))
    }
}

#[test]
fn the_request_is_inferred_from_its_recorded_reply() {
    for (name, recording) in recordings() {
        let ours = Ours::of(&recording);
        let mut count = 0;
        for exchange in recording.exchanges() {
            let Some(reply) = reply(exchange) else { continue };
            let Ok(Request::QrInfo(inferred)) = ours.infer(&reply) else { panic!("{name} {}", exchange.id) };
            let asked = spec(&recording, exchange);
            let needed = if exchange.extra_share { 5 } else { 4 };
            assert_eq!(inferred.work_block_hashes[..needed], asked.work_block_hashes[..needed]);
            assert!(inferred.work_block_hashes[needed..].iter().all(|hash| *hash == BlockHash::ZERO), "not looked up");
            assert_eq!((inferred.cycle, inferred.extra_share), (asked.cycle, asked.extra_share));
            let requested = recording.height(&inferred.block_hash).unwrap();
            assert!((asked.cycle.height()..=exchange.height).contains(&requested), "{name} {}", exchange.id);
            count += 1;
        }
        assert!(count > 0, "{name}");
    }
}

#[test]
fn complete_syncs_are_true_without_their_requests() {
    for (name, recording) in recordings() {
        let ours = Ours::of(&recording);
        for sync in recording.complete_syncs() {
            let mut stage = ListStage::new(recording.network(), Level::Full);
            for exchange in recording.exchanges_of(sync) {
                let verified = ours.judge(&mut stage, &reply(exchange).unwrap());
                verified.unwrap_or_else(|error| panic!("{name} {} {}: {error:?}", sync.name, exchange.id));
            }
        }
    }
}

/// The commitments in a reply depend on the block of the cycle that was asked for, which nothing in the reply names.
#[test]
fn a_reply_to_any_block_of_a_cycle_is_true() {
    for (name, recording) in recordings() {
        let ours = Ours::of(&recording);
        let chain = Chain::from_recording(&recording, |_| true).unwrap();
        let tip = recording.tip();
        let mut offsets = BTreeSet::new();
        // The newest cycle may be under way. The one before has tip diffs to a list with its quorums.
        for height in recording.network().cycles().start_of(tip).height() - 24..=tip {
            let block_hash = ours.hashes[height as usize];
            let asked = GetQRInfo { base_block_hashes: Vec::new(), block_hash, extra_share: height % 2 == 0 };
            let reply = builder::answer(&chain, &NetworkMessage::GetQRInfo(asked), PROTOCOL_VERSION).unwrap().unwrap();
            let mut stage = ListStage::new(recording.network(), Level::Roots);
            let verified = ours.judge(&mut stage, &reply);
            assert!(verified.unwrap_or_else(|error| panic!("{name} {height}: {error:?}")).lists.is_some());
            let Ok(Request::QrInfo(inferred)) = ours.infer(&reply) else { panic!("{name} {height}") };
            offsets.insert(recording.height(&inferred.block_hash).unwrap() % 24);
        }
        // Replies before and after the mining window.
        assert!(offsets.contains(&0) && offsets.iter().all(|offset| [0, 12].contains(offset)), "{name}: {offsets:?}");
        assert!(offsets.len() == 2 || name != "bundled", "{name}: {offsets:?}");
    }
}

#[test]
fn blocks_that_the_headers_lack_are_missing() {
    let recording = Recording::bundled().unwrap();
    let exchange = recording.exchanges().iter().find(|exchange| reply(exchange).is_some()).unwrap();
    let reply = reply(exchange).unwrap();
    let work_height = recording
        .network()
        .cycles()
        .work_height_back(recording.network().cycles().start_of(exchange.height), 4)
        .unwrap();
    let mut ours = Ours::of(&recording);
    ours.first = work_height;
    assert!(ours.infer(&reply).is_ok());
    ours.first = work_height + 1;
    assert_eq!(ours.infer(&reply), Err(Missing::HeaderAt(work_height)));
    ours.first = u32::MAX;
    assert!(matches!(ours.infer(&reply), Err(Missing::Header(_))));
}

/// For any start and end of our headers: blocks that they lack are no fault of a peer.
#[test]
fn no_range_of_headers_makes_a_true_reply_false() {
    let recording = Recording::bundled().unwrap();
    let chain = Chain::from_recording(&recording, |_| true).unwrap();
    let mut ours = Ours::of(&recording);
    let start = recording.network().cycles().start_of(recording.tip()).height() - 48;
    let mut counts = [0, 0];
    for height in [start, start + 11, start + 12, start + 16, start + 23] {
        let block_hash = ours.hashes[height as usize];
        let asked = GetQRInfo { base_block_hashes: Vec::new(), block_hash, extra_share: true };
        let reply = builder::answer(&chain, &NetworkMessage::GetQRInfo(asked), PROTOCOL_VERSION).unwrap().unwrap();
        let ends = (start - 10..start + 30).map(|last| (0, last));
        for (first, last) in ends.chain((start - 150..start).map(|first| (first, u32::MAX))) {
            (ours.first, ours.last) = (first, last);
            let mut stage = ListStage::new(recording.network(), Level::Roots);
            match ours.judge(&mut stage, &reply) {
                Ok(_) => counts[0] += 1,
                Err(VerifyError::Missing(_)) => counts[1] += 1,
                Err(error) => panic!("{height} by {first}..={last}: {error:?}"),
            }
        }
    }
    assert!(counts[0] > 100 && counts[1] > 100, "{counts:?}");
}

/// A block that the headers do not have is an old one only if they reach beyond the quorums of the cycle.
#[test]
fn a_quorum_block_above_the_headers_is_missing() {
    let recording = Recording::bundled().unwrap();
    let cycles = recording.network().cycles();
    let mut ours = Ours::of(&recording);
    let newest = |reply: &QRInfo| {
        let cycle = cycles.start_of(ours.find(&reply.work_block_hash()).unwrap().height + 8).height();
        let of_index = reply.last_commitment_per_index.iter().find(|quorum| quorum.quorum_index == Some(1))?;
        let block = BlockHash::from_bytes(*of_index.quorum_hash.as_bytes());
        (ours.find(&block)?.height == cycle + 1).then_some((cycle, of_index))
    };
    let replies = recording.exchanges().iter().filter_map(common::qr_info);
    let ((cycle, quorum), reply) = replies.filter_map(|reply| Some((newest(&reply)?, reply))).next().unwrap();
    let reply = QRInfo { last_commitment_per_index: [quorum].into_iter().collect(), ..reply };
    let reply = Reply::QrInfo(Box::new(reply));
    ours.last = cycle + 12;
    assert!(ours.infer(&reply).is_ok());
    for last in cycle..cycle + 12 {
        ours.last = last;
        assert_eq!(ours.infer(&reply), Err(Missing::HeaderAt(cycle + 12)), "{last}");
    }
}

#[test]
fn a_base_whose_list_is_not_held_is_missing() {
    let recording = Recording::bundled().unwrap();
    let ours = Ours::of(&recording);
    let sync = &recording.complete_syncs()[0];
    let second = reply(recording.exchanges_of(sync).nth(1).unwrap()).unwrap();
    let mut stage = ListStage::new(recording.network(), Level::Roots);
    let error = ours.judge(&mut stage, &second).unwrap_err();
    assert!(matches!(error, VerifyError::Missing(Missing::Lists(_))), "{error:?}");
}

#[test]
fn a_reply_that_leads_to_no_work_block_is_false() {
    let recording = Recording::bundled().unwrap();
    let ours = Ours::of(&recording);
    let exchange = recording.exchanges().iter().find(|exchange| reply(exchange).is_some()).unwrap();
    let Some(Reply::QrInfo(reply)) = reply(exchange) else { panic!("no qrinfo") };
    for height in [1, 500] {
        let at_other = MnListDiff { block_hash: ours.hashes[height], ..reply.mn_list_diff_h.clone() };
        let altered = QRInfo { mn_list_diff_h: at_other, ..(*reply).clone() };
        let altered = Reply::QrInfo(Box::new(QRInfo::from_wire(altered.to_wire()).unwrap()));
        let mut stage = ListStage::new(recording.network(), Level::Roots);
        let error = ours.judge(&mut stage, &altered).unwrap_err();
        assert!(matches!(error, VerifyError::False(Falsehood::Mismatch(_))), "{error:?}");
    }
}

#[test]
fn a_diff_names_its_request() {
    let recording = Recording::bundled().unwrap();
    let ours = Ours::of(&recording);
    let exchange = recording.exchanges().iter().find(|exchange| reply(exchange).is_some()).unwrap();
    let Some(Reply::QrInfo(reply)) = reply(exchange) else { panic!("no qrinfo") };
    let diff = Reply::MnListDiff(Box::new(reply.mn_list_diff_at_h_minus_c.clone()));
    let request = ours.infer(&diff).unwrap();
    assert_eq!(request.check_reply(&diff), Ok(()));
}
