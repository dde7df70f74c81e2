use std::collections::BTreeMap;

use qrinfo_core::{
    BlockHash,
    message::{DeletedQuorum, GetMnListDiff, MnListDiff, QuorumClSig},
    sha256d,
};

use super::Refusal;
use crate::chain::{Chain, Place};

/// The version of `mnlistdiff`.
const VERSION: u16 = 1;

/// Builds the answer to a `getmnlistd`. An all-zero base means genesis; the reply's base is the request's as it came.
///
/// # Errors
/// [`Refusal`]: the node would answer nothing.
pub fn mn_list_diff(chain: &Chain, request: &GetMnListDiff) -> Result<MnListDiff, Refusal> {
    let base =
        if request.base_block_hash == BlockHash::ZERO { 0 } else { base_height(chain, request.base_block_hash)? };
    let target = match chain.find(&request.block_hash) {
        Some(Place::Active(height)) => height,
        Some(Place::Stale(_)) => return Err(Refusal::StaleBlock(request.block_hash)),
        None => return Err(Refusal::UnknownBlock(request.block_hash)),
    };
    if base > target {
        return Err(Refusal::BaseAboveBlock { base, target });
    }
    let diff = between(chain, base, target)?;
    Ok(MnListDiff { base_block_hash: request.base_block_hash, ..diff })
}

/// The height of a base that a client names.
pub(super) fn base_height(chain: &Chain, hash: BlockHash) -> Result<u32, Refusal> {
    match chain.find(&hash) {
        Some(Place::Active(height)) => Ok(height),
        Some(Place::Stale(_)) => Err(Refusal::StaleBase(hash)),
        None => Err(Refusal::UnknownBase(hash)),
    }
}

/// The diff from one height to another, not lower one.
pub(super) fn between(chain: &Chain, base: u32, target: u32) -> Result<MnListDiff, Refusal> {
    let base_block = chain.block(base).ok_or(Refusal::Unreadable(base))?;
    let block = chain.block(target).ok_or(Refusal::Unreadable(target))?;
    let body = block.body.as_ref().ok_or(Refusal::Unreadable(target))?;
    let masternodes = chain.masternodes().change(base, target);
    let before = chain.quorums().active_at(base);
    let after = chain.quorums().active_at(target);
    let new = || after.iter().filter(|(key, _)| !before.contains_key(key)).map(|(_, quorum)| *quorum);
    let gone = before.keys().filter(|key| !after.contains_key(key));

    // The list after the target is what counts, so v20 shows one block early.
    let has_chain_locks = target.saturating_add(1) >= chain.v20_height();
    let mut groups: BTreeMap<[u8; 32], QuorumClSig> = BTreeMap::new();
    for (index, quorum) in (0..).zip(new()).filter(|_| has_chain_locks) {
        // Core keeps signatures in a map that is sorted by their hashes.
        let signature = quorum.chain_lock_signature;
        let group = groups.entry(sha256d(&signature)).or_insert(QuorumClSig { signature, indexes: Vec::new() });
        group.indexes.push(index);
    }

    Ok(MnListDiff {
        version: VERSION,
        base_block_hash: base_block.hash,
        block_hash: block.hash,
        total_transactions: body.total_transactions,
        merkle_hashes: body.merkle_hashes.clone(),
        merkle_flags: body.merkle_flags.clone(),
        coinbase: body.coinbase.clone(),
        deleted_masternodes: masternodes.deleted.into_iter().collect(),
        new_masternodes: masternodes.updated.into_iter().map(|entry| entry.as_ref().clone()).collect(),
        deleted_quorums: gone.map(|&(llmq_type, quorum_hash)| DeletedQuorum { llmq_type, quorum_hash }).collect(),
        new_quorums: new().map(|quorum| quorum.commitment.clone()).collect(),
        quorums_cl_sigs: groups.into_values().collect(),
    })
}
