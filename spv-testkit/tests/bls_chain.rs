//! A made-up chain with real keys: every signature is good, under keys and members that a client works out itself.
#![cfg(feature = "bls")]
#![allow(clippy::unwrap_used, reason = "a test that finds nothing has failed")]

mod verify;

use blst::{
    BLST_ERROR, MultiPoint,
    min_pk::{PublicKey, Signature},
};
use qrinfo_core::{
    ProTxHash,
    message::{Commitment, GetQRInfo, SmlEntry},
    sha256d,
    wire::{Wire, put_var_bytes},
};
use sha2::{Digest, Sha256};
use spv_testkit::{Keys, SyntheticChain, SyntheticParams, builder};
use verify::Light;

const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";

fn params() -> SyntheticParams {
    SyntheticParams { keys: Keys::Bls, v19_height: 0, tip: 14 * 24 + 22, ..SyntheticParams::regtest() }
}

fn is_signed(signature: &[u8; 96], message: &[u8; 32], key: &PublicKey) -> bool {
    let signature = Signature::sig_validate(signature, true).unwrap();
    signature.verify(true, message, DST, &[], key, true) == BLST_ERROR::BLST_SUCCESS
}

/// An operator key in either encoding.
fn operator(entry: &SmlEntry) -> PublicKey {
    let mut bytes = entry.pub_key_operator;
    if entry.version == 1 {
        let is_negative = bytes[0] & 0x80 != 0;
        bytes[0] = bytes[0] & 0x1f | 0x80 | if is_negative { 0x20 } else { 0 };
    }
    PublicKey::key_validate(&bytes).unwrap()
}

fn commitment_hash(commitment: &Commitment) -> [u8; 32] {
    let mut bytes = vec![commitment.llmq_type.0];
    bytes.extend(commitment.quorum_hash.as_bytes());
    bytes.extend(commitment.valid_members.to_wire());
    bytes.extend(commitment.quorum_public_key);
    bytes.extend(commitment.quorum_vvec_hash.as_bytes());
    sha256d(&bytes)
}

/// The key under which the signers' aggregate is good.
fn aggregate_key(mut keys: Vec<PublicKey>) -> PublicKey {
    keys.sort_by_key(|key| key.compress());
    let all = Sha256::digest(keys.iter().flat_map(|key| key.compress()).collect::<Vec<_>>());
    let factor = |i: u32| Sha256::digest([&i.to_be_bytes()[..], &all].concat());
    let factors: Vec<u8> =
        (0..keys.len() as u32).flat_map(|i| factor(i).into_iter().rev().collect::<Vec<_>>()).collect();
    keys.as_slice().mult(&factors, 256).to_public_key()
}

fn check(commitment: &Commitment, members: &[SmlEntry]) {
    let hash = commitment_hash(commitment);
    let quorum_key = PublicKey::key_validate(&commitment.quorum_public_key).unwrap();
    assert!(is_signed(&commitment.quorum_sig, &hash, &quorum_key));
    let signers = members.iter().zip(commitment.signers.iter()).filter(|(_, signs)| *signs);
    let keys: Vec<_> = signers.map(|(member, _)| operator(member)).collect();
    assert_eq!(keys.len(), commitment.signers.count_ones(), "signers beyond the members");
    assert!(is_signed(&commitment.members_sig, &hash, &aggregate_key(keys)), "{commitment:?}");
}

#[test]
fn rotated_commitments_are_signed_by_the_members_that_a_client_draws() {
    let seed = 11;
    eprintln!("seed {seed}");
    let synthetic = SyntheticChain::generate(seed, &params());
    let chain = &synthetic.chain;
    let mut light = Light::new(chain);
    for cycle in 5..=14 {
        let request = GetQRInfo {
            base_block_hashes: vec![],
            block_hash: chain.block(cycle * 24 + 22).unwrap().hash,
            extra_share: true,
        };
        light.take(&builder::qr_info(chain, &request, 70230).unwrap());
    }
    let members = light.members();
    let mut checked = 0;
    let rotated = params().network.rotated_llmq();
    for quorum in chain.quorums().iter().filter(|quorum| quorum.commitment.llmq_type == rotated) {
        let Some(members) = members.get(&quorum.commitment.quorum_hash) else { continue };
        let cycle = quorum.height - quorum.height % 24;
        // One member a quarter, the oldest first; its key is that of the list which it was drawn from.
        let drawn_at = (0..=3).rev().map(|back| cycle - back * 24 - 8);
        let entry = |(hash, work): (&ProTxHash, u32)| chain.masternodes().get(*hash, work).unwrap().as_ref().clone();
        let members: Vec<_> = members.iter().zip(drawn_at).map(entry).collect();
        check(&quorum.commitment, &members);
        checked += 1;
    }
    assert!(checked > 12, "{checked}");
}

#[test]
fn other_commitments_are_signed_by_their_members_too() {
    let seed = 12;
    eprintln!("seed {seed}");
    let synthetic = SyntheticChain::generate(seed, &params());
    for quorum in synthetic.chain.quorums().iter() {
        let commitment = &quorum.commitment;
        let members = synthetic.members(commitment.llmq_type, commitment.quorum_hash).unwrap();
        let members: Vec<_> = members.iter().map(|member| member.as_ref().clone()).collect();
        check(commitment, &members);
    }
}

#[test]
fn chain_locks_are_signed_by_an_active_quorum() {
    let seed = 13;
    eprintln!("seed {seed}");
    let synthetic = SyntheticChain::generate(seed, &params());
    let chain = &synthetic.chain;
    let mut checked = 0;
    for height in chain.v20_height() + 2..=chain.tip() {
        let body = chain.block(height).unwrap().body.as_ref().unwrap();
        let pool = body.coinbase.payload().unwrap().credit_pool.as_ref().unwrap();
        let locked = height - 1 - pool.best_cl_height_diff;
        let mut request = Vec::new();
        put_var_bytes(&mut request, b"clsig");
        request.extend(locked.to_le_bytes());
        let request = sha256d(&request);
        let active = chain.quorums().active_at(locked - 8);
        let signers =
            active.iter().filter(|((llmq_type, _), _)| llmq_type.0 == 100).filter(|((llmq_type, hash), quorum)| {
                let block = chain.block(locked).unwrap().hash;
                let message = [&[llmq_type.0], &hash.as_bytes()[..], &request, block.as_bytes()].concat();
                let key = PublicKey::key_validate(&quorum.commitment.quorum_public_key).unwrap();
                is_signed(&pool.best_cl_signature, &sha256d(&message), &key)
            });
        assert_eq!(signers.count(), 1, "height {height}");
        checked += 1;
    }
    assert!(checked > 100);
}
