//! The recorded answers of real nodes are true, reply by reply and as whole syncs.

use crate::common::{expected_replies, headers, qr_info, recordings, reply, request, with_zero_bases};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use qrinfo_core::{
    BlockHash, Hash256, MnListDiffRequestSpec, Network, QuorumHash, Reply, Request,
    message::{
        Coinbase, CoinbasePayload, Commitment, MnListDiff, PROTOCOL_VERSION, QRInfo, QuorumSnapshot, SkipListMode,
        SmlEntry,
    },
    wire::Bits,
};
use qrinfo_verify::{HeaderMap, Level, ListStage, Lists, Proof, Unproven, Verified, VerifyError, check};
use serde_json::Value;
use spv_testkit::{Answer, Chain, Exchange, Recording, builder};

#[test]
fn every_recorded_reply_is_true_by_its_headers() {
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let mut count = 0;
        for exchange in recording.exchanges() {
            let Some(reply) = reply(exchange) else { continue };
            let checked = check(&request(&recording, exchange), &reply, |hash| headers.find(hash));
            let checked = checked.unwrap_or_else(|error| panic!("{name} {}: {error:?}", exchange.id));
            assert!(!checked.tip_is_unknown());
            assert!(checked.diffs().is_sorted_by_key(|diff| diff.height));
            count += 1;
        }
        assert!(count >= expected_replies(name), "{name}: {count}");
    }
}

/// The members that the node itself names, by the hash of the quorum.
fn node_members(name: &str) -> BTreeMap<String, Vec<String>> {
    let path = format!("{}/../../shared/vectors/{name}/quorums.json", env!("CARGO_MANIFEST_DIR"));
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{path}: {error}: members are not compared with the node's");
            return BTreeMap::new();
        }
    };
    let quorums: Value = serde_json::from_slice(&text).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let members =
        |quorum: &Value| quorum["members"].as_array().unwrap().iter().map(|m| text(&m["proTxHash"])).collect();
    quorums.as_object().unwrap().values().map(|quorum| (text(&quorum["quorumHash"]), members(quorum))).collect()
}

#[test]
fn complete_syncs_at_full_verify_every_rotated_quorum_with_the_nodes_members() {
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let truth = node_members(name);
        let mut compared = BTreeSet::new();
        for sync in recording.complete_syncs() {
            let mut stage = ListStage::new(recording.network(), Level::Full);
            let cycles = recording.network().cycles();
            let first = recording.exchanges_of(sync).map(|exchange| cycles.start_of(exchange.height)).min().unwrap();
            for exchange in recording.exchanges_of(sync) {
                let reply = reply(exchange).unwrap();
                let verified = stage.apply(&request(&recording, exchange), &reply, |hash| headers.find(hash));
                let verified =
                    verified.unwrap_or_else(|error| panic!("{name} {} {}: {error:?}", sync.name, exchange.id));
                let rotated = recording.network().rotated_llmq();
                for quorum in verified.quorums.iter().filter(|quorum| quorum.commitment.llmq_type == rotated) {
                    let Some(truth) = truth.get(&quorum.commitment.quorum_hash.to_string()) else { continue };
                    if quorum.proof.members_sig == Proof::Verified {
                        let members: Vec<_> = quorum.members.iter().map(ToString::to_string).collect();
                        assert_eq!(members, *truth);
                        compared.insert(quorum.commitment.quorum_hash);
                    }
                }
                let is_commitments = |unproven: &&Unproven| matches!(unproven, Unproven::Commitments(_));
                assert_eq!(verified.unproven.iter().find(is_commitments), None, "{name} {}", exchange.id);
                // Quorums of cycles before the first come without the snapshots that their members hang on.
                for quorum in verified.quorums.iter().filter(|quorum| quorum.proof.members_sig != Proof::Verified) {
                    let block = BlockHash::from_bytes(*quorum.commitment.quorum_hash.as_bytes());
                    let height = headers.find(&block).unwrap().height;
                    let why = quorum.proof.members_sig;
                    assert!(height < first.height(), "{name} {} {}: {height}, {why:?}", sync.name, exchange.id);
                }
            }
        }
        assert_eq!(compared.len(), truth.len(), "{name}");
        eprintln!("{name}: the members of {} quorums are the node's", compared.len());
    }
}

#[test]
fn complete_syncs_lead_to_proven_lists() {
    let mut syncs = 0;
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        for sync in recording.complete_syncs() {
            let mut stage = ListStage::new(recording.network(), Level::Roots);
            for exchange in recording.exchanges_of(sync) {
                let reply = reply(exchange).unwrap();
                let verified = stage.apply(&request(&recording, exchange), &reply, |hash| headers.find(hash));
                let verified =
                    verified.unwrap_or_else(|error| panic!("{name} {} {}: {error:?}", sync.name, exchange.id));
                let is_newest = exchange.height == recording.tip();
                assert_eq!(verified.unproven.contains(&Unproven::TipDiff), !is_newest, "{name} {}", exchange.id);
                assert_eq!(verified.tip.is_some(), is_newest);
                // Genesis, and the work blocks of H to H-6C.
                let kept: Vec<_> = stage.kept().collect();
                assert!(kept.len() <= 1 + 7 + usize::from(is_newest), "{kept:?}");
            }
            syncs += 1;
        }
    }
    eprintln!("{syncs} syncs");
}

/// A signature in `quorumsCLSigs` is that of the work block of its quorums, which is known where the lists there are.
#[test]
fn signatures_of_work_blocks_are_compared() {
    let recording = Recording::bundled().unwrap();
    let headers = headers(&recording);
    let sync = &recording.complete_syncs()[0];
    let mut stage = ListStage::new(recording.network(), Level::Roots);
    let count = |verified: &Verified| {
        verified.unproven.iter().find_map(|unproven| match unproven {
            Unproven::ChainLockSignatures(count) => Some(*count),
            _ => None,
        })
    };
    let (mut altered, mut hidden) = (0, 0);
    for exchange in recording.exchanges_of(sync) {
        let request = request(&recording, exchange);
        let good = qr_info(exchange).unwrap();
        let take = |stage: &mut ListStage, reply: QRInfo, hidden: Option<BlockHash>| {
            let find = |hash: &BlockHash| headers.find(hash).filter(|_| Some(*hash) != hidden);
            stage.apply(&request, &Reply::QrInfo(Box::new(reply)), find)
        };
        let groups = good.mn_list_diff_h.quorums_cl_sigs.to_vec();
        if let Some(place) = groups.iter().position(|group| group.signature != [0; 96]) {
            let mut groups = groups.clone();
            groups[place].signature[95] ^= 1;
            let mut reply = good.clone();
            reply.mn_list_diff_h.quorums_cl_sigs = groups.into_iter().collect();
            let error = take(&mut stage.clone(), reply, None).unwrap_err();
            let is_named = matches!(&error, VerifyError::False(false_) if false_.label() == "chainlock signature");
            assert!(is_named, "{error:?}");
            altered += 1;
        }
        let new = good.mn_list_diff_h.new_quorums.to_vec();
        let plain = new.iter().find(|quorum| quorum.quorum_index.is_none());
        if let Some(quorum) = plain.filter(|_| !groups.is_empty()) {
            let block = BlockHash::from_bytes(*quorum.quorum_hash.as_bytes());
            let verified = take(&mut stage.clone(), good.clone(), Some(block)).unwrap();
            let of_block = new.iter().filter(|other| other.quorum_hash == quorum.quorum_hash).count();
            assert!(count(&verified).is_some_and(|count| count >= of_block), "{:?}", verified.unproven);
            hidden += 1;
        }
        let verified = take(&mut stage, good, None).unwrap();
        assert_eq!(count(&verified), None, "every work block is known");
    }
    assert!(altered > 20 && hidden > 20, "{altered} {hidden}");
}

/// The bits and the positions of a snapshot are those of the masternodes with a score: not banned, and confirmed.
#[test]
fn snapshots_are_about_the_masternodes_with_a_score() {
    let (mut judged, mut without_score) = (0, 0);
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let cycles = recording.network().cycles();
        let Some(sync) = recording.complete_syncs().iter().max_by_key(|sync| recording.exchanges_of(sync).count())
        else {
            continue;
        };
        let mut stage = ListStage::new(recording.network(), Level::Roots);
        let mut at_work = BTreeMap::new();
        for exchange in recording.exchanges_of(sync) {
            let request = request(&recording, exchange);
            let good = qr_info(exchange).unwrap();
            let take = |stage: &mut ListStage, reply: QRInfo| {
                stage.apply(&request, &Reply::QrInfo(Box::new(reply)), |hash| headers.find(hash))
            };
            let label = |alter: &dyn Fn(&mut QuorumSnapshot)| {
                let mut reply = good.clone();
                alter(&mut reply.quorum_snapshot_at_h_minus_c);
                match take(&mut stage.clone(), reply) {
                    Ok(_) => "true",
                    Err(VerifyError::False(falsehood)) => falsehood.label(),
                    Err(error) => panic!("{error:?}"),
                }
            };
            let back = cycles.work_height_back(cycles.start_of(exchange.height), 1);
            if let Some(lists) = back.and_then(|height| at_work.get(&height)) {
                let lists: &Lists = lists;
                let has_score = |entry: &&SmlEntry| entry.is_valid && entry.confirmed_hash != Hash256::ZERO;
                let scored = lists.masternodes().iter().filter(has_score).count();
                let bits = |set: usize, count: usize| (0..count).map(|place| place == set).collect::<Bits>();
                let count = lists.masternodes().len();
                assert_eq!(label(&|snapshot| snapshot.active_quorum_members = bits(0, count + 1)), "snapshot bits");
                assert_eq!(label(&|snapshot| snapshot.active_quorum_members = bits(scored - 1, count)), "true");
                if scored < count {
                    let beyond = label(&|snapshot| snapshot.active_quorum_members = bits(scored, count));
                    assert_eq!(beyond, "snapshot bits", "{name} {}", exchange.id);
                    without_score += 1;
                }
                let skips = |skip_list: &[i32]| {
                    label(&|snapshot| {
                        snapshot.skip_list_mode = SkipListMode::SkipFirst;
                        snapshot.skip_list = skip_list.to_vec();
                    })
                };
                let last = i32::try_from(scored).unwrap() - 1;
                for positions in [[last, 0], [0, last], [1, last - 1]] {
                    assert_eq!(skips(&positions), "true", "{name} {}: {positions:?} of {scored}", exchange.id);
                }
                // Before v19 those that had left counted too.
                if lists.quorums().iter().any(|quorum| quorum.version >= 3) {
                    for positions in [[last + 1, 0], [0, last + 1], [1, last]] {
                        assert_eq!(skips(&positions), "snapshot skip list", "{name} {}: {positions:?}", exchange.id);
                    }
                }
                assert_eq!(skips(&[0, -1]), "snapshot skip list");
                judged += 1;
            }
            let lists = take(&mut stage, good).unwrap().lists.unwrap();
            at_work.insert(lists.height(), lists);
        }
    }
    eprintln!("{judged} snapshots, {without_score} of lists with masternodes without a score");
    assert!(judged > 20 && (without_score > 0 || Recording::shared("regtest-churn").unwrap().is_none()));
}

/// A cycle whose quorums were never mined, and a peer that says they were.
#[test]
fn commitments_that_no_list_has_are_false() {
    let Some(recording) = Recording::shared("regtest-v3").unwrap() else { return };
    let whole = Chain::from_recording(&recording, |_| true).unwrap();
    let headers = headers(&recording);
    let cycles = recording.network().cycles();
    let mut judged = 0;
    // Of the tips that a node may have, these have recorded coinbases. They lie in the mining window of their cycle.
    for height in (0..=whole.tip()).filter(|height| cycles.is_work_height(*height)) {
        let chain = whole.until(height);
        let mut exchange = recording.exchanges()[0].clone();
        (exchange.height, exchange.base_heights, exchange.extra_share) = (height, vec![0], true);
        let cycle = cycles.start_of(height);
        if cycles.work_height_back(cycle, 4).is_none() {
            continue;
        }
        let request = request(&recording, &exchange);
        // Not efficient: every diff is from genesis.
        let Ok(Reply::QrInfo(good)) = builder::answer(&chain, &request.to_message(), 70230).unwrap() else { continue };
        let judge = |reply: QRInfo| {
            let mut stage = ListStage::new(recording.network(), Level::Roots);
            match stage.apply(&request, &Reply::QrInfo(Box::new(reply)), |hash| headers.find(hash)) {
                Ok(_) => "true",
                Err(VerifyError::False(falsehood)) => falsehood.label(),
                Err(error) => panic!("{height}: {error:?}"),
            }
        };
        assert_eq!(judge(*good.clone()), "true", "{height}");
        let window = recording.network().rotated_params().mining_window(cycle.height());
        let mut commitments = good.last_commitment_per_index.to_vec();
        let is_old = |quorum: &Commitment| {
            let block = BlockHash::from_bytes(*quorum.quorum_hash.as_bytes());
            headers.find(&block).unwrap().height < cycle.height()
        };
        if !commitments.iter().any(is_old) || height < *window.start() {
            continue;
        }
        for (index, quorum) in (0..).zip(&mut commitments).filter(|(_, quorum)| is_old(quorum)) {
            let block = recording.block_hash(cycle.height() + index).unwrap();
            quorum.quorum_hash = QuorumHash::from_bytes(*block.as_bytes());
        }
        let claimed = QRInfo {
            last_commitment_per_index: commitments.into_iter().collect(),
            quorum_snapshot_list: Vec::new(),
            mn_list_diff_list: Vec::new(),
            ..*good
        };
        assert_eq!(judge(claimed), "commitment in list", "{height}");
        judged += 1;
    }
    assert!(judged > 0);
}

/// Also those that belong to no sync.
#[test]
fn every_recorded_reply_passes_at_roots() {
    for (name, recording) in recordings() {
        let replies = Bases::of(&recording).take_each(Level::Roots, |_| true, |reply| reply, |_| 0);
        assert!(replies.len() >= expected_replies(name), "{name}: {}", replies.len());
    }
}

/// The other recordings are covered by their complete syncs.
#[test]
fn every_reply_of_the_newest_version_passes_at_full() {
    let Some(recording) = Recording::shared("regtest-v3").unwrap() else { return };
    let replies = Bases::of(&recording).take_each(Level::Full, |_| true, |reply| reply, |_| 0);
    assert_eq!(replies.len(), expected_replies("regtest-v3"));
}

/// Dash Core before 22.1.2 writes all zeros where newer versions write the hash of the genesis block.
#[test]
fn legacy_replies_with_zeros_for_genesis_pass() {
    for (name, recording) in recordings() {
        for level in [Level::Roots, Level::Full] {
            let replies =
                Bases::of(&recording).take_each(level, |exchange| exchange.protocol == 70230, with_zero_bases, |_| 0);
            assert!(name == "bundled" || replies.len() > 40, "{name}: {}", replies.len());
        }
    }
}

/// A client whose headers start at the oldest work block that it asks for, as after a checkpoint, takes every reply, and
/// says of which lists nothing is proven. In replies of Dash Core 23.1 the others start from these lists.
#[test]
fn replies_pass_without_the_headers_of_old_stragglers() {
    let mut with_stragglers = 0;
    for (name, recording) in recordings() {
        let cycles = recording.network().cycles();
        let lowest = |exchange: &Exchange| {
            let oldest =
                cycles.work_height_back(cycles.start_of(exchange.height), if exchange.extra_share { 4 } else { 3 });
            let bases = exchange.base_heights.iter().copied().filter(|height| *height > 0);
            bases.chain(oldest).min().unwrap()
        };
        // The churning chain has few other heights; one protocol version is enough.
        let is_new = |exchange: &Exchange| exchange.protocol > 70230;
        for (exchange, verified) in Bases::of(&recording).take_each(Level::Roots, is_new, |reply| reply, lowest) {
            let trailing = qr_info(exchange).unwrap().mn_list_diff_list;
            let payload_height = |diff: &MnListDiff| diff.coinbase.payload().unwrap().height;
            let below = trailing.iter().filter(|diff| i64::from(payload_height(diff)) < i64::from(lowest(exchange)));
            let named = verified.unproven.iter().find_map(|unproven| match unproven {
                Unproven::TrailingDiffs(names) => Some(names.len()),
                _ => None,
            });
            assert_eq!(named.unwrap_or(0), below.count(), "{name} {}", exchange.id);
            with_stragglers += usize::from(named.is_some());
        }
    }
    eprintln!("{with_stragglers} replies with stragglers below the headers");
    assert!(with_stragglers > 0 || Recording::shared("regtest-v3").unwrap().is_none());
}

/// The lists for a straggler whose own block is below the headers: which they are is not known, but they are at most
/// three, of work blocks below the others, in ascending order.
#[test]
fn lists_for_a_straggler_of_an_unknown_cycle_are_few_and_in_order() {
    let Some(recording) = Recording::shared("regtest-v3").unwrap() else { return };
    let headers = headers(&recording);
    let cycles = recording.network().cycles();
    let judge_with = |count: usize, is_one_known: bool, alter: &dyn Fn(&mut QRInfo)| {
        let is_wanted = |exchange: &&Exchange| {
            exchange.base_heights == [0]
                && qr_info(exchange).is_some_and(|reply| reply.mn_list_diff_list.len() == count)
        };
        let exchange = recording.exchanges().iter().find(is_wanted).unwrap();
        let mut reply = qr_info(exchange).unwrap();
        let quorums = reply.last_commitment_per_index.iter();
        let mut blocks: Vec<_> = quorums.map(|quorum| BlockHash::from_bytes(*quorum.quorum_hash.as_bytes())).collect();
        // Both indexes have been without a new quorum since the same cycle.
        assert_eq!(blocks.len(), 2);
        if is_one_known {
            blocks.pop();
        }
        let oldest = cycles.work_height_back(cycles.start_of(exchange.height), 4).unwrap();
        alter(&mut reply);
        let find =
            |hash: &BlockHash| headers.find(hash).filter(|block| block.height >= oldest && !blocks.contains(hash));
        match check(&request(&recording, exchange), &Reply::QrInfo(Box::new(reply)), find) {
            Ok(_) => "true",
            Err(VerifyError::False(falsehood)) => falsehood.label(),
            Err(error) => panic!("{error:?}"),
        }
    };
    let judge_altered = |count, alter: &dyn Fn(&mut QRInfo)| judge_with(count, false, alter);
    // More of the first list, with its snapshot.
    let with_more = |reply: &mut QRInfo, more: usize| {
        let (diff, snapshot) = (reply.mn_list_diff_list[0].clone(), reply.quorum_snapshot_list[0].clone());
        reply.mn_list_diff_list.splice(0..0, std::iter::repeat_n(diff, more));
        reply.quorum_snapshot_list.splice(0..0, std::iter::repeat_n(snapshot, more));
    };
    let claim = |reply: &mut QRInfo, heights: &[i32]| {
        for (diff, &height) in reply.mn_list_diff_list.iter_mut().zip(heights) {
            let payload = CoinbasePayload { height, ..diff.coinbase.payload().unwrap().clone() };
            diff.coinbase = Coinbase::new(payload);
        }
    };
    for count in 1..=3 {
        assert_eq!(judge_altered(count, &|_| {}), "true", "{count}");
    }
    // Three for each of the two.
    assert_eq!(judge_altered(3, &|reply| with_more(reply, 3)), "target block");
    assert_eq!(judge_altered(3, &|reply| with_more(reply, 4)), "trailing count");
    assert_eq!(judge_altered(3, &|reply| _ = reply.quorum_snapshot_list.pop()), "trailing count");
    assert_eq!(judge_altered(3, &|reply| reply.mn_list_diff_list.swap(0, 1)), "target block");
    // Of an unknown block only the coinbase tells the height. The oldest work block of the others is at 184.
    for (height, verdict) in
        [(160, "true"), (136, "true"), (161, "target block"), (184, "target block"), (208, "target block")]
    {
        assert_eq!(judge_altered(1, &|reply| claim(reply, &[height])), verdict, "{height}");
    }
    // The lists of 160, 184 and 208 are called for by the one that is known; another does not take their place.
    for (heights, verdict) in [([136, 160], "true"), ([112, 136], "target block")] {
        let claims = |reply: &mut QRInfo| {
            with_more(reply, 1);
            claim(reply, &heights);
        };
        assert_eq!(judge_with(3, true, &claims), verdict, "{heights:?}");
    }
}

/// The lists that recorded requests start from. They are brought by `mnlistdiff` from genesis, and proven by their roots
/// as well. Two kinds of base have no recorded coinbase: anchors, from which only tip diffs start, and blocks from before
/// the first masternode, whose lists are empty.
struct Bases<'r> {
    recording: &'r Recording,
    headers: HeaderMap,
    lists: BTreeMap<u32, Option<Lists>>,
}

impl<'r> Bases<'r> {
    fn of(recording: &'r Recording) -> Self {
        let headers = headers(recording);
        let chain = Chain::from_recording(recording, |_| true).unwrap();
        let find = |hash: &BlockHash| headers.find(hash);
        let first = (0..).find(|height| chain.masternodes().at(*height).next().is_some()).unwrap();
        let lists_at = |height| {
            let block_hash = recording.block_hash(height).unwrap();
            let request = Request::from(MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash });
            let Ok(diff) = builder::answer(&chain, &request.to_message(), PROTOCOL_VERSION).unwrap() else {
                return (height < first).then(|| empty(recording.network(), height, block_hash));
            };
            ListStage::new(recording.network(), Level::Roots).apply(&request, &diff, find).unwrap().lists
        };
        let answered = recording.exchanges().iter().filter(|exchange| exchange.answer != Answer::Refused);
        let heights: BTreeSet<_> =
            answered.flat_map(|exchange| exchange.base_heights.iter().copied()).filter(|height| *height > 0).collect();
        let lists = heights.into_iter().map(|height| (height, lists_at(height))).collect();
        Self { recording, headers, lists }
    }

    /// Takes the replies of those exchanges, altered, each by itself, with the headers from a height on.
    fn take_each(
        &self,
        level: Level,
        is_wanted: impl Fn(&Exchange) -> bool,
        alter: impl Fn(QRInfo) -> QRInfo,
        lowest: impl Fn(&Exchange) -> u32,
    ) -> Vec<(&'r Exchange, Verified)> {
        let wanted = self.recording.exchanges().iter().filter(|exchange| is_wanted(exchange));
        let take = |exchange: &'r Exchange| {
            let reply = Reply::QrInfo(Box::new(alter(qr_info(exchange)?)));
            let mut stage = ListStage::new(self.recording.network(), level);
            let bases: Vec<_> = exchange.base_heights.iter().filter_map(|height| self.lists.get(height)).collect();
            bases.iter().copied().flatten().for_each(|lists| stage.pin(lists.clone()));
            let lowest = lowest(exchange);
            let find = |hash: &BlockHash| self.headers.find(hash).filter(|block| block.height >= lowest);
            let verified = stage.apply(&request(self.recording, exchange), &reply, find);
            let verified = verified.unwrap_or_else(|error| panic!("{}: {error:?}", exchange.id));
            assert!(bases.contains(&&None) || verified.tip.is_some(), "{}", exchange.id);
            // What was set aside is not kept, and the rest is.
            assert!(verified.lists.iter().all(|lists| stage.lists(lists.height()) == Some(lists)), "{}", exchange.id);
            assert!(stage.kept().all(|lists| lists.height() == 0 || lists.height() >= lowest), "{}", exchange.id);
            Some((exchange, verified))
        };
        wanted.filter_map(take).collect()
    }
}

/// The lists at a block from before the first masternode.
fn empty(network: Network, height: u32, block_hash: BlockHash) -> Lists {
    let payload = CoinbasePayload {
        version: 1,
        height: i32::try_from(height).unwrap(),
        merkle_root_mn_list: Hash256::ZERO,
        merkle_root_quorums: None,
        credit_pool: None,
    };
    let empty = MnListDiff::empty(BlockHash::ZERO, block_hash);
    let diff = MnListDiff { coinbase: Coinbase::new(payload), ..empty };
    Lists::at_genesis(network).apply(&diff).unwrap()
}
