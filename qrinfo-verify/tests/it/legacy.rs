//! Quorums of before v19. Their signatures are verified with the feature `legacy-bls`; their members are drawn either
//! way.

use crate::common::synthetic;
use qrinfo_core::{
    LlmqType, MnListDiffRequestSpec, Reply, Request,
    message::{GetMnListDiff, QRInfo},
    wire::Wire,
};
use qrinfo_verify::{
    Falsehood, Level, ListStage, Proof, QuorumProof, Unproven, Unverified, VerifiedQuorum, VerifyError,
};
use spv_testkit::{Keys, SyntheticChain, SyntheticParams, builder};

/// The verdict on a good signature of before v19.
const GOOD: Proof = if cfg!(feature = "legacy-bls") { Proof::Verified } else { Proof::Unverified(Unverified::Legacy) };

/// A chain that has rotated quorums for twelve cycles before v19, and for two more before v20. It has so few masternodes
/// that those which are no longer registered matter to the draw.
fn chain(seed: u64) -> SyntheticChain {
    let params = SyntheticParams {
        changes_per_cycle: 4.0,
        masternodes: 6,
        tip: 20 * 24 + 22,
        v19_height: 16 * 24,
        v20_height: 18 * 24,
        keys: Keys::Bls,
        ..SyntheticParams::regtest()
    };
    SyntheticChain::generate(seed, &params)
}

fn has_its_members(synthetic: &SyntheticChain, quorum: &VerifiedQuorum) -> bool {
    let commitment = &quorum.commitment;
    let members = synthetic.members(commitment.llmq_type, commitment.quorum_hash).unwrap();
    members.iter().map(|member| member.pro_reg_tx_hash).eq(quorum.members.iter().copied())
}

#[test]
fn a_whole_history_is_verified_from_its_first_cycle_on() {
    let (mut old, mut new) = (0, 0);
    for seed in [0, 2] {
        let synthetic = chain(seed);
        let headers = synthetic::headers(&synthetic.chain);
        let mut stage = ListStage::new(synthetic.chain.network(), Level::Full);
        for (spec, payload) in synthetic::sync(&synthetic.chain, 5 * 24) {
            let reply = Reply::QrInfo(Box::new(QRInfo::from_wire(payload).unwrap()));
            let cycle = spec.cycle.height();
            let verified = stage.apply(&spec.into(), &reply, |hash| headers.find(hash));
            let verified = verified.unwrap_or_else(|error| panic!("seed {seed}, cycle {cycle}: {error:?}"));
            let legacy = verified.unproven.iter().find_map(|unproven| match unproven {
                Unproven::Signatures { legacy, .. } => Some(*legacy),
                _ => None,
            });
            assert!(GOOD != Proof::Verified || legacy.is_none_or(|count| count == 0), "{legacy:?}");
            let drawn = verified.quorums.iter().filter(|quorum| !quorum.members.is_empty());
            for quorum in drawn.filter(|quorum| quorum.commitment.llmq_type == LlmqType(103)) {
                let proof = if quorum.commitment.version == 2 { GOOD } else { Proof::Verified };
                assert_eq!(quorum.proof, QuorumProof { quorum_sig: proof, members_sig: proof });
                assert!(has_its_members(&synthetic, quorum), "seed {seed}, cycle {cycle}");
                *if quorum.commitment.version == 2 { &mut old } else { &mut new } += 1;
            }
        }
    }
    eprintln!("{old} rotated quorums of before v19, {new} since");
    assert!(old > 30 && new > 10, "{old}, {new}");
}

/// Before v19 members depend on data that no list contains, so a selection that differs from the chain's proves nothing
/// against the peer. An altered snapshot stands for that data: it leads to other members than those that signed.
#[test]
fn members_before_v19_that_did_not_sign_leave_the_reply_unproven() {
    let (mut unproven, mut falsehoods) = (0, 0);
    let synthetic = chain(0);
    let headers = synthetic::headers(&synthetic.chain);
    let mut stage = ListStage::new(synthetic.chain.network(), Level::Full);
    for (spec, payload) in synthetic::sync(&synthetic.chain, 5 * 24) {
        let cycle = spec.cycle.height();
        let request = Request::from(spec);
        let qr_info = QRInfo::from_wire(payload).unwrap();
        let mut altered = qr_info.clone();
        let bits = &mut altered.quorum_snapshot_at_h_minus_c.active_quorum_members;
        *bits = bits.iter().map(|bit| !bit).collect();
        let find = |hash: &_| headers.find(hash);
        match stage.clone().apply(&request, &Reply::QrInfo(Box::new(altered)), find) {
            Ok(verified) => {
                let differs =
                    |quorum: &&VerifiedQuorum| quorum.proof.members_sig == Proof::Unverified(Unverified::LegacyMembers);
                let count = verified.quorums.iter().filter(differs).count();
                assert!(verified.quorums.iter().filter(differs).all(|quorum| {
                    quorum.commitment.version == 2
                        && quorum.proof.quorum_sig == Proof::Verified
                        && quorum.members.is_empty()
                }));
                let named = verified.unproven.iter().find_map(|unproven| match unproven {
                    Unproven::Signatures { legacy_members, .. } => Some(*legacy_members),
                    _ => None,
                });
                assert_eq!(named.unwrap_or_default(), count, "cycle {cycle}");
                unproven += count;
            }
            Err(VerifyError::False(Falsehood::Quorum { fault, .. })) => {
                assert!(cycle > 16 * 24, "cycle {cycle}: {fault}");
                falsehoods += 1;
            }
            // A bit of a masternode without a score.
            Err(VerifyError::False(Falsehood::Snapshot { .. })) => {}
            Err(error) => panic!("cycle {cycle}: {error:?}"),
        }
        stage.apply(&request, &Reply::QrInfo(Box::new(qr_info)), find).unwrap();
    }
    eprintln!("{unproven} quorums left unproven, {falsehoods} replies false");
    assert!(falsehoods > 0);
    assert_eq!(unproven > 5, cfg!(feature = "legacy-bls"), "{unproven}");
}

/// Before v20 a quorum that is not rotated is drawn from the list at its own block.
#[test]
fn quorums_that_are_not_rotated_are_drawn_from_the_list_at_their_own_block() {
    let synthetic = chain(3);
    let (chain, network) = (&synthetic.chain, synthetic.chain.network());
    let headers = synthetic::headers(chain);
    let hash = |height: u32| chain.block(height).unwrap().hash;
    let mut stage = ListStage::new(network, Level::Full);
    let mut counts = [0; 2];
    for height in (24..=17 * 24).step_by(24) {
        // The list at the block, and later the one that has the commitment.
        for (base, target) in [(height - 4, height), (height, height + 20)] {
            let base = if base == 20 { 0 } else { base };
            let (base_block_hash, block_hash) = (hash(base), hash(target));
            let diff = builder::mn_list_diff(chain, &GetMnListDiff { base_block_hash, block_hash }).unwrap();
            let spec = MnListDiffRequestSpec { base_block_hash, block_hash };
            let reply = Reply::MnListDiff(Box::new(diff));
            let taken = stage.apply(&Request::MnListDiff(spec), &reply, |hash| headers.find(hash)).unwrap();
            let plain = [LlmqType(100), LlmqType(102), LlmqType(104)];
            for quorum in taken.quorums.iter().filter(|quorum| plain.contains(&quorum.commitment.llmq_type)) {
                let (place, proof) = if quorum.commitment.version == 1 { (0, GOOD) } else { (1, Proof::Verified) };
                assert_eq!(quorum.proof, QuorumProof { quorum_sig: proof, members_sig: proof });
                assert!(has_its_members(&synthetic, quorum));
                counts[place] += 1;
            }
        }
    }
    assert!(counts[0] > 25 && counts[1] > 2, "{counts:?}");
}

#[cfg(feature = "legacy-bls")]
mod real {
    //! Commitments of version 1 that real nodes mined.

    use std::{
        collections::BTreeMap,
        fs,
        path::{Path, PathBuf},
    };

    use qrinfo_core::{
        BlockHash, Hash256, LlmqType, Network,
        message::{Commitment, MnListDiff, QRInfo, SmlEntry},
        wire::{Bits, Wire},
    };
    use qrinfo_verify::{Lists, Modifier, QuorumCheck, QuorumFault, QuorumProof, top_members};

    use super::{Proof, Unverified};

    const WITHOUT_MEMBERS: Result<QuorumProof, QuorumFault> =
        Ok(QuorumProof { quorum_sig: Proof::Verified, members_sig: Proof::Unverified(Unverified::NoMembers) });
    const VERIFIED: Result<QuorumProof, QuorumFault> =
        Ok(QuorumProof { quorum_sig: Proof::Verified, members_sig: Proof::Verified });

    const OTHER_MEMBERS: Result<QuorumProof, QuorumFault> =
        Ok(QuorumProof { quorum_sig: Proof::Verified, members_sig: Proof::Unverified(Unverified::LegacyMembers) });

    /// Says on standard error what is not tested where the vectors are missing.
    fn directory(name: &str) -> Option<PathBuf> {
        let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors")).join(name);
        if !directory.is_dir() {
            eprintln!("{} is missing: nothing is tested against it", directory.display());
            return None;
        }
        Some(directory)
    }

    fn diff(directory: &Path, name: &str) -> MnListDiff {
        MnListDiff::from_wire(fs::read(directory.join(name)).unwrap()).unwrap()
    }

    fn verify(commitment: &Commitment, members: Option<&[&SmlEntry]>) -> Result<QuorumProof, QuorumFault> {
        QuorumCheck { params: commitment.llmq_type.params().unwrap(), commitment, members }.verify()
    }

    fn altered(bits: &Bits, place: usize) -> Bits {
        bits.iter().enumerate().map(|(at, bit)| bit != (at == place)).collect()
    }

    /// The commitment with one thing that its quorum signed, or the signature, altered in turn.
    fn alterations(commitment: &Commitment) -> Vec<Commitment> {
        let mut altered_ones = Vec::new();
        let mut with = |alter: &dyn Fn(&mut Commitment)| {
            let mut altered = commitment.clone();
            alter(&mut altered);
            altered_ones.push(altered);
        };
        for place in [0, 1, 40, 47] {
            with(&|altered| altered.quorum_public_key[place] ^= 1);
        }
        with(&|altered| altered.quorum_public_key[0] ^= 0x80);
        for place in [0, 1, 47, 48, 49, 95] {
            with(&|altered| altered.quorum_sig[place] ^= 1);
        }
        for bit in [0x80, 0x40, 0x20] {
            with(&|altered| altered.quorum_sig[0] ^= bit);
        }
        with(&|altered| altered.quorum_sig[48] ^= 0x80);
        with(&|altered| altered.quorum_sig = commitment.members_sig);
        with(&|altered| altered.quorum_vvec_hash = Hash256::from_bytes([7; 32]));
        with(&|altered| altered.quorum_hash = qrinfo_core::QuorumHash::from_bytes([7; 32]));
        with(&|altered| altered.valid_members = self::altered(&commitment.valid_members, 1));
        altered_ones
    }

    #[test]
    fn every_commitment_in_real_lists_is_signed_by_its_quorum() {
        let mut commitments = BTreeMap::new();
        let mut add = |network: &str, diff: &MnListDiff| {
            for commitment in diff.new_quorums.iter().filter(|quorum| quorum.version < 3) {
                commitments.insert((network.to_owned(), commitment.to_wire()), commitment);
            }
        };
        if let Some(directory) = directory("testnet") {
            add("testnet", &diff(&directory, "mnlistdiff/mnlistdiff_0_530000.bin"));
            add("testnet", &diff(&directory, "mnlistdiff/mnlistdiff_530000_900096.bin"));
            let reply = QRInfo::from_wire(fs::read(directory.join("qrinfo_905770.bin")).unwrap()).unwrap();
            reply.diffs().for_each(|diff| add("testnet", diff));
        }
        if let Some(directory) = directory("mainnet") {
            add("mainnet", &diff(&directory, "mainnet_mnlistdiff_0_2227096.bin"));
        }
        let mut by_type: BTreeMap<_, usize> = BTreeMap::new();
        for ((network, _), commitment) in &commitments {
            assert_eq!(verify(commitment, None), WITHOUT_MEMBERS, "{network} {}", commitment.quorum_hash);
            for altered in alterations(commitment) {
                assert!(verify(&altered, None).is_err(), "{network} {commitment:?} {altered:?}");
            }
            *by_type.entry((network.as_str(), commitment.version, commitment.llmq_type.0)).or_default() += 1;
        }
        eprintln!("verified, by network, version and type: {by_type:?}");
        assert_eq!(by_type.get(&("mainnet", 1, 1)).copied().unwrap_or(24), 24);
        assert!(by_type.is_empty() || commitments.len() >= 24);
    }

    /// The quorums that were made shortly before block 530,000 of testnet. Their block's own list is not there; the one
    /// at 530,000 has the same masternodes at the head.
    #[test]
    fn commitments_of_testnet_are_signed_by_their_members() {
        let Some(directory) = directory("testnet") else { return };
        let lists = Lists::at_genesis(Network::Testnet);
        let lists = lists.apply(&diff(&directory, "mnlistdiff/mnlistdiff_0_530000.bin")).unwrap();
        let mut by_type: BTreeMap<_, usize> = BTreeMap::new();
        for commitment in lists.quorums().iter().filter(|quorum| [1, 4].contains(&quorum.llmq_type.0)) {
            let block = BlockHash::from_bytes(*commitment.quorum_hash.as_bytes());
            let modifier = Modifier::new(commitment.llmq_type, 0, &block, None);
            let params = commitment.llmq_type.params().unwrap();
            let members = top_members(&params, lists.masternodes().iter(), &modifier, false);
            assert!(members.iter().all(|member| member.version == 1));
            assert_eq!(verify(commitment, Some(&members)), VERIFIED, "{}", commitment.quorum_hash);

            let mut swapped = commitment.clone();
            swapped.members_sig[90] ^= 1;
            assert_eq!(verify(&swapped, Some(&members)), Err(QuorumFault::MembersSig), "not a signature");
            swapped.members_sig = commitment.quorum_sig;
            assert_eq!(verify(&swapped, Some(&members)), OTHER_MEMBERS);
            let signer = commitment.signers.iter().position(|signs| signs).unwrap();
            let fewer = Commitment { signers: altered(&commitment.signers, signer), ..commitment.clone() };
            assert_eq!(verify(&fewer, Some(&members)), OTHER_MEMBERS);
            let mut others = members.clone();
            others[signer] = lists.masternodes().iter().find(|entry| !members.contains(entry)).unwrap();
            assert_eq!(verify(commitment, Some(&others)), OTHER_MEMBERS);
            assert_eq!(verify(commitment, Some(&members[..signer])), OTHER_MEMBERS);
            *by_type.entry(commitment.llmq_type).or_default() += 1;
        }
        assert_eq!(by_type, BTreeMap::from([(LlmqType(1), 24), (LlmqType(4), 24)]));
    }
}
