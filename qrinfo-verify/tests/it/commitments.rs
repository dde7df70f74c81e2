//! Commitments of real nodes verify, and altered ones fail by name.

use std::{collections::BTreeMap, fs, num::NonZeroUsize};

use crate::support::{Facts, State, shared_file};
use qrinfo_core::{
    Hash256, LlmqParams, LlmqType, Network,
    message::{Commitment, SmlEntry},
    wire::Bits,
};
use qrinfo_verify::{Proof, QuorumCheck, QuorumFault, QuorumProof, Unverified, verify_quorums};

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();
const VERIFIED: Result<QuorumProof, QuorumFault> =
    Ok(QuorumProof { quorum_sig: Proof::Verified, members_sig: Proof::Verified });

/// The verdicts on the rotated commitments from this height on, with the height of the quorum's block. Those of cycles
/// that not everything is there to draw are left out.
fn verify_rotated(facts: &Facts, from: u32) -> Vec<(u32, Result<QuorumProof, QuorumFault>)> {
    let mut quorums = facts.quorums();
    quorums.retain(|(height, ..)| *height >= from);
    let checks: Vec<_> = quorums
        .iter()
        .map(|(_, commitment, members)| QuorumCheck { params: facts.params(), commitment, members: Some(members) })
        .collect();
    quorums.iter().map(|(height, ..)| *height).zip(verify_quorums(&checks, TWO)).collect()
}

fn assert_all_verified(facts: &Facts, count: usize) {
    let verdicts = verify_rotated(facts, 0);
    assert_eq!(verdicts.len(), count, "{:?}", verdicts.iter().map(|(height, _)| height).collect::<Vec<_>>());
    for (height, verdict) in verdicts {
        assert_eq!(verdict, VERIFIED, "the quorum of block {height}");
    }
}

#[test]
fn every_rotated_quorum_of_the_bundled_recording_is_signed_by_its_members() {
    let facts = Facts::bundled();
    assert!(facts.rotated.values().all(|commitment| commitment.version == 4));
    assert_all_verified(&facts, 66);
}

#[test]
fn every_rotated_quorum_of_the_whole_recordings_is_signed_by_its_members() {
    for (name, count) in [("regtest", 66), ("regtest-churn", 54)] {
        let Some(facts) = Facts::shared(name) else { return };
        assert_all_verified(&facts, count);
    }
}

#[test]
fn mainnet_quorums_are_signed_by_their_members_some_of_them_with_keys_in_the_legacy_encoding() {
    let Some(facts) = Facts::mainnet() else { return };
    assert_all_verified(&facts, 64);
    let quorums = facts.quorums();
    let signers = quorums.iter().flat_map(|(_, commitment, members)| {
        members.iter().zip(commitment.signers.iter()).filter(|(_, signs)| *signs).map(|(member, _)| member)
    });
    let (legacy, basic): (Vec<&&SmlEntry>, Vec<_>) = signers.partition(|member| member.version == 1);
    let greater = legacy.iter().filter(|member| member.pub_key_operator[0] & 0x80 != 0).count();
    eprintln!("{} signers with legacy encoding, {greater} of them with the sign; {} basic", legacy.len(), basic.len());
    assert!(legacy.len() > 300 && greater > 100 && legacy.len() - greater > 100 && basic.len() > 300);
}

/// The parameters of the quorums that are not rotated.
fn top_params(llmq_type: LlmqType) -> LlmqParams {
    let params = llmq_type.params().unwrap();
    match llmq_type {
        // The recorded regtest chains have their own.
        LlmqType(100 | 104 | 106) => LlmqParams { size: 4, min_size: 4, threshold: 4, ..params },
        _ => params,
    }
}

/// Verifies the quorums that are not rotated from whose work block the list is there: how many of each type.
fn verify_top(facts: &Facts, evo_only: &[LlmqType]) -> BTreeMap<LlmqType, usize> {
    let quorums: BTreeMap<_, &Commitment> = facts
        .states
        .values()
        .flat_map(|state: &State| state.quorums.iter().map(|(key, quorum)| (*key, quorum)))
        .collect();
    let mut verified = BTreeMap::new();
    for ((llmq_type, _), commitment) in quorums {
        let params = top_params(llmq_type);
        let Some(height) = facts.quorum_height(commitment).filter(|_| !params.rotated) else { continue };
        // Before v20 they are drawn from the list at their own block, which the recordings have not.
        if facts.network == Network::Regtest && height < 900 + 8 {
            continue;
        }
        let Some(members) = facts.top_members(&params, height, evo_only.contains(&llmq_type)) else { continue };
        let check = QuorumCheck { params, commitment, members: Some(&members) };
        assert_eq!(check.verify(), VERIFIED, "type {llmq_type}, block {height}");
        *verified.entry(llmq_type).or_default() += 1;
    }
    verified
}

#[test]
fn quorums_that_are_not_rotated_are_signed_by_the_masternodes_with_the_highest_scores() {
    let verified = verify_top(&Facts::bundled(), &[]);
    eprintln!("{verified:?}");
    assert!(verified[&LlmqType(100)] > 20 && verified[&LlmqType(102)] > 20, "{verified:?}");
    if let Some(facts) = Facts::shared("regtest-churn") {
        let verified = verify_top(&facts, &[]);
        eprintln!("{verified:?}");
        assert!(verified[&LlmqType(100)] > 20 && verified[&LlmqType(102)] > 20, "{verified:?}");
    }
    if let Some(mut facts) = Facts::mainnet() {
        facts.apply_mainnet_chain();
        let verified = verify_top(&facts, &[LlmqType(4)]);
        eprintln!("{verified:?}");
        assert!(
            verified[&LlmqType(2)] >= 4 && verified[&LlmqType(3)] >= 1 && verified[&LlmqType(4)] >= 24,
            "{verified:?}"
        );
    }
}

/// The quorums of the newest mainnet cycle.
fn verify_newest_cycle(facts: &Facts) -> Vec<Result<QuorumProof, QuorumFault>> {
    verify_rotated(facts, 2_240_352).into_iter().map(|(_, verdict)| verdict).collect()
}

fn clear_first(bits: &Bits) -> Bits {
    let first = bits.iter().position(|bit| bit).unwrap();
    bits.iter().enumerate().map(|(place, bit)| bit && place != first).collect()
}

#[test]
fn the_negative_controls_fail_as_recorded() {
    let (Some(facts), Some(controls)) = (Facts::mainnet(), shared_file("mainnet/negative_controls.txt")) else {
        return;
    };
    let mut seen = 0;
    for line in fs::read_to_string(controls).unwrap().lines() {
        let mut altered = facts.clone();
        let all_good = line.ends_with(r#"{"ok":32}"#);
        let number = |prefix: &str| -> Option<u32> {
            let digits: String = line.strip_prefix(prefix)?.chars().take_while(char::is_ascii_digit).collect();
            Some(digits.parse().unwrap())
        };
        if let Some(back) = number("chainlock sig ") {
            // In the order of the quarters, the oldest first.
            let state = altered.states.get_mut(&(2_239_480 + 288 * back)).unwrap();
            state.credit_pool.as_mut().unwrap().best_cl_signature = [1; 96];
        } else if let Some(work_height) = number("snapshot Some(") {
            let snapshot = altered.snapshots.get_mut(&(work_height + 8)).unwrap();
            snapshot.active_quorum_members = clear_first(&snapshot.active_quorum_members);
        } else if line.starts_with("one signer bit off") {
            altered.rotated.values_mut().for_each(|quorum| quorum.signers = clear_first(&quorum.signers));
        } else {
            assert!(line.starts_with("control"), "an unknown control: {line}");
        }
        let expected = if all_good { VERIFIED } else { Err(QuorumFault::MembersSig) };
        assert_eq!(verify_newest_cycle(&altered), vec![expected; 32], "{line}");
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn every_altered_field_of_a_commitment_is_caught_by_name() {
    let facts = Facts::bundled();
    let (_, good, members) = facts.quorums().pop().unwrap();
    let params = facts.params();
    let verdict =
        |commitment: &Commitment, members: Option<&[&SmlEntry]>| QuorumCheck { params, commitment, members }.verify();
    let with = |alter: fn(&mut Commitment)| {
        let mut altered = good.clone();
        alter(&mut altered);
        verdict(&altered, Some(&members)).unwrap_err()
    };
    let no_members = Proof::Unverified(Unverified::NoMembers);
    assert_eq!(verdict(good, Some(&members)), VERIFIED);
    assert_eq!(verdict(good, None), Ok(QuorumProof { quorum_sig: Proof::Verified, members_sig: no_members }));

    let expected = params.llmq_type;
    assert_eq!(with(|quorum| quorum.llmq_type = LlmqType(5)), QuorumFault::Type { expected, got: LlmqType(5) });
    assert_eq!(with(|quorum| quorum.quorum_index = None), QuorumFault::Version(4));
    let not_rotated = QuorumCheck { params: LlmqParams { rotated: false, ..params }, commitment: good, members: None };
    assert_eq!(not_rotated.verify(), Err(QuorumFault::Version(4)));
    assert_eq!(with(|quorum| quorum.quorum_index = Some(-1)), QuorumFault::Index(-1));
    assert_eq!(with(|quorum| quorum.quorum_index = Some(2)), QuorumFault::Index(2));
    let bits = |count: usize, set: usize| (0..count).map(|place| place < set).collect::<Bits>();
    let fault = QuorumFault::BitCount { field: "signers", expected: 4, got: 5 };
    assert_eq!(with(|quorum| quorum.signers = [true; 5].into_iter().collect()), fault);
    let fault = QuorumFault::BitCount { field: "validMembers", expected: 4, got: 3 };
    assert_eq!(with(|quorum| quorum.valid_members = [true; 3].into_iter().collect()), fault);
    let mut altered = good.clone();
    altered.signers = bits(4, 3);
    let fault = QuorumFault::TooFew { field: "signers", least: 4, got: 3 };
    assert_eq!(verdict(&altered, Some(&members)), Err(fault));
    let fault = QuorumFault::BitBeyondMembers { field: "signers", place: 3, members: 3 };
    assert_eq!(verdict(good, Some(&members[..3])), Err(fault));
    assert_eq!(with(|quorum| quorum.quorum_vvec_hash = Hash256::ZERO), QuorumFault::NoVerificationVector);
    assert_eq!(with(|quorum| quorum.quorum_vvec_hash = Hash256::from_bytes([1; 32])), QuorumFault::QuorumSig);
    assert_eq!(with(|quorum| quorum.quorum_hash = Default::default()), QuorumFault::QuorumSig);
    assert_eq!(with(|quorum| quorum.quorum_public_key = [0; 48]), QuorumFault::QuorumKey);
    assert_eq!(with(|quorum| quorum.quorum_sig = quorum.members_sig), QuorumFault::QuorumSig);
    assert_eq!(with(|quorum| quorum.members_sig = quorum.quorum_sig), QuorumFault::MembersSig);
    assert_eq!(with(|quorum| quorum.quorum_sig = [0; 96]), QuorumFault::QuorumSig);
    assert_eq!(with(|quorum| quorum.members_sig = [0; 96]), QuorumFault::MembersSig);

    let mut swapped = members.clone();
    let stranger = facts.states.values().flat_map(|state| state.list.values());
    swapped[1] = stranger.into_iter().find(|entry| members.iter().all(|member| member != entry)).unwrap();
    assert_eq!(verdict(good, Some(&swapped)), Err(QuorumFault::MembersSig));
    let no_key = SmlEntry { pub_key_operator: [0; 48], ..members[2].clone() };
    swapped[1] = members[1];
    swapped[2] = &no_key;
    assert_eq!(verdict(good, Some(&swapped)), Err(QuorumFault::OperatorKey { place: 2 }));
}

/// Infinity, and a point of the curve that is not in the group.
#[test]
fn points_that_are_no_keys_or_signatures_are_refused() {
    let facts = Facts::bundled();
    let (_, good, members) = facts.quorums().pop().unwrap();
    let fault = |commitment: &Commitment| {
        QuorumCheck { params: facts.params(), commitment, members: Some(&members) }.verify().unwrap_err()
    };
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    // x = 4 is on the curve, y^2 = 4^3 + 4 having a root, and its order is not the group's.
    let mut other_group = [0; 48];
    other_group[0] = 0x80;
    other_group[47] = 4;
    for key in [infinity, other_group, [0xff; 48]] {
        assert_eq!(fault(&Commitment { quorum_public_key: key, ..good.clone() }), QuorumFault::QuorumKey);
    }
    let mut infinity = [0; 96];
    infinity[0] = 0xc0;
    let mut signatures = vec![infinity, [0xff; 96]];
    // The first coordinates that are on the curve; none of so small ones is in the group.
    for x in 0..16 {
        let mut signature = [0; 96];
        signature[0] = 0x80;
        signature[95] = x;
        signatures.push(signature);
    }
    for signature in signatures {
        assert_eq!(fault(&Commitment { quorum_sig: signature, ..good.clone() }), QuorumFault::QuorumSig);
        assert_eq!(fault(&Commitment { members_sig: signature, ..good.clone() }), QuorumFault::MembersSig);
    }
}

#[cfg(not(feature = "legacy-bls"))]
#[test]
fn legacy_commitments_are_never_called_verified() {
    let legacy = Proof::Unverified(Unverified::Legacy);
    let facts = Facts::bundled();
    let (_, good, members) = facts.quorums().pop().unwrap();
    let mut altered = Commitment { version: 2, ..good.clone() };
    altered.quorum_public_key[0] = good.quorum_public_key[0] & 0x1f;
    let check = QuorumCheck { params: facts.params(), commitment: &altered, members: Some(&members) };
    assert_eq!(check.verify(), Ok(QuorumProof { quorum_sig: legacy, members_sig: legacy }));

    let Some(facts) = Facts::mainnet() else { return };
    let state = &facts.states[&2_227_096];
    let quorums = state.quorums.values().filter(|quorum| quorum.version == 1);
    let mut seen = 0;
    for commitment in quorums {
        let check = QuorumCheck { params: commitment.llmq_type.params().unwrap(), commitment, members: None };
        assert_eq!(check.verify(), Ok(QuorumProof { quorum_sig: legacy, members_sig: legacy }));
        seen += 1;
    }
    assert_eq!(seen, 24);
}

/// Faults of every kind among many good commitments: each verdict is that of the commitment by itself.
fn assert_faults_are_named_among_many(facts: &Facts, from: u32) {
    let mut quorums = facts.quorums();
    quorums.retain(|(height, ..)| *height >= from);
    let mut commitments: Vec<Commitment> = quorums.iter().map(|(_, commitment, _)| (*commitment).clone()).collect();
    let mut members: Vec<Vec<&SmlEntry>> = quorums.iter().map(|(.., members)| members.clone()).collect();
    let first_signer = commitments[1].signers.iter().position(|signs| signs).unwrap();
    // x = 4 is on the curve and not in the group.
    let mut other_group = SmlEntry { version: 2, ..members[1][first_signer].clone() };
    other_group.pub_key_operator = [0; 48];
    other_group.pub_key_operator[0] = 0x80;
    other_group.pub_key_operator[47] = 4;
    members[1][first_signer] = &other_group;
    let mut swapped = commitments[3].clone();
    (swapped.quorum_sig, swapped.members_sig) = (swapped.members_sig, swapped.quorum_sig);
    commitments[3] = swapped;
    commitments[5].members_sig = commitments[5].quorum_sig;
    members[7].pop();
    // The quorum's own signature comes first.
    commitments[9].quorum_sig = commitments[8].quorum_sig;
    members[9].pop();
    commitments[11] = commitments[10].clone();
    members[11] = members[10].clone();
    commitments[13].quorum_public_key = other_group.pub_key_operator;
    commitments[15].signers = Bits::default();
    let checks: Vec<_> = commitments
        .iter()
        .zip(&members)
        .map(|(commitment, members)| QuorumCheck { params: facts.params(), commitment, members: Some(members) })
        .collect();
    let apart: Vec<_> = checks.iter().map(QuorumCheck::verify).collect();
    for (place, verdict) in apart.iter().enumerate() {
        match place {
            1 => assert_eq!(*verdict, Err(QuorumFault::OperatorKey { place: first_signer })),
            3 | 9 => assert_eq!(*verdict, Err(QuorumFault::QuorumSig)),
            5 => assert_eq!(*verdict, Err(QuorumFault::MembersSig)),
            7 => assert!(matches!(verdict, Err(QuorumFault::BitBeyondMembers { .. })), "{verdict:?}"),
            13 => assert_eq!(*verdict, Err(QuorumFault::QuorumKey)),
            15 => assert!(matches!(verdict, Err(QuorumFault::BitCount { .. })), "{verdict:?}"),
            _ => assert_eq!(*verdict, VERIFIED, "{place}"),
        }
    }
    for threads in [1, 2, 5] {
        assert_eq!(verify_quorums(&checks, NonZeroUsize::new(threads).unwrap()), apart, "{threads} threads");
    }
    // Without any false signature the faults of another kind are still named.
    let others: Vec<_> = [0, 1, 2, 7, 13, 15].map(|place| checks[place]).to_vec();
    let expected: Vec<_> = [0, 1, 2, 7, 13, 15].map(|place: usize| apart[place].clone()).to_vec();
    assert_eq!(verify_quorums(&others, NonZeroUsize::MIN), expected);
}

#[test]
fn faults_among_many_are_named_as_by_themselves() {
    assert_faults_are_named_among_many(&Facts::bundled(), 0);
    if let Some(facts) = Facts::mainnet() {
        assert_faults_are_named_among_many(&facts, 2_240_352);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_verdicts_in_the_same_order() {
    let facts = Facts::bundled();
    let quorums = facts.quorums();
    let mut commitments: Vec<Commitment> = quorums.iter().take(9).map(|(_, quorum, _)| (*quorum).clone()).collect();
    commitments[4].quorum_sig = commitments[3].quorum_sig;
    commitments[7].members_sig = commitments[6].members_sig;
    let checks: Vec<_> = commitments
        .iter()
        .zip(&quorums)
        .map(|(commitment, (_, _, members))| QuorumCheck { params: facts.params(), commitment, members: Some(members) })
        .collect();
    for threads in [1, 2, 3, 9, 100] {
        let verdicts = verify_quorums(&checks, NonZeroUsize::new(threads).unwrap());
        for (place, verdict) in verdicts.iter().enumerate() {
            let expected = match place {
                4 => Err(QuorumFault::QuorumSig),
                7 => Err(QuorumFault::MembersSig),
                _ => VERIFIED,
            };
            assert_eq!(*verdict, expected, "{place}, {threads} threads");
        }
    }
    assert_eq!(verify_quorums(&[], TWO), []);
}
