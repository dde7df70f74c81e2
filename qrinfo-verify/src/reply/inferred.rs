//! Reconstruction of the request of a captured reply.

use std::collections::BTreeSet;

use qrinfo_core::{
    BlockHash, CYCLES_BACK, CycleStart, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Reply, Request,
    WORK_BLOCK_OFFSET, message::QRInfo,
};

use super::error::Missing;
use crate::{
    headers::{KnownBlock, is_genesis},
    quorum::quorum_block,
};

/// Returns a request that a true reply answers, for a captured reply without its request.
///
/// `headers` and `hash_at` answer for the blocks of the best chain, by hash and by height.
///
/// A `mnlistdiff` names both blocks of its request. For a `qrinfo`:
///
/// * The work blocks are those of our headers, by the height of the work block that the reply leads to.
/// * The bases are those that its diffs start from. Their lists have to be held: [`ListStage::apply`](crate::ListStage::apply)
///   gives [`Missing::Lists`] otherwise.
/// * The requested block is the lowest one that can have mined the last commitments: the first block of the mining
///   window if one of them is of the requested cycle, and the first block of the cycle otherwise. A true reply to any
///   block of the cycle answers this request too. That the commitments are the newest therefore mostly stays
///   [unproven](crate::Unproven::Newest).
///
/// ```
/// use qrinfo_core::{BlockHash, MnListDiffRequestSpec, Network, Reply, Request};
/// use qrinfo_verify::{HeaderMap, Missing, Verified, ListStage, VerifyError, infer_request};
///
/// /// Verifies a captured reply against the headers from block 0 on.
/// fn judge(
///     stage: &mut ListStage,
///     reply: &Reply,
///     headers: &HeaderMap,
///     hashes: &[BlockHash],
/// ) -> Result<Verified, VerifyError> {
///     let hash_at = |height| hashes.get(usize::try_from(height).ok()?).copied();
///     let request = infer_request(Network::Mainnet, reply, |hash| headers.find(hash), hash_at)?;
///     stage.apply(&request, reply, |hash| headers.find(hash))
/// }
/// # let _ = judge;
/// ```
///
/// # Errors
/// [`Missing`] if the headers lack a block of the request.
pub fn infer_request(
    network: Network,
    reply: &Reply,
    headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
    hash_at: impl Fn(u32) -> Option<BlockHash>,
) -> Result<Request, Missing> {
    match reply {
        Reply::QrInfo(reply) => infer_qr_info(network, reply, headers, hash_at).map(Request::from),
        Reply::MnListDiff(diff) => {
            let (base_block_hash, block_hash) = (diff.base_block_hash, diff.block_hash);
            Ok(MnListDiffRequestSpec { base_block_hash, block_hash }.into())
        }
    }
}

fn infer_qr_info(
    network: Network,
    reply: &QRInfo,
    headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
    hash_at: impl Fn(u32) -> Option<BlockHash>,
) -> Result<QRInfoRequestSpec, Missing> {
    let work_block = reply.work_block_hash();
    let work_height = headers(&work_block).ok_or(Missing::Header(work_block))?.height;
    // If that is no work block, the reply leads to another block than this cycle's, which is false.
    let cycle = network.cycles().start_of(work_height.saturating_add(WORK_BLOCK_OFFSET));
    let at = |height| hash_at(height).ok_or(Missing::HeaderAt(height));
    let extra_share = reply.extra_share.is_some();
    let mut work_block_hashes = [BlockHash::ZERO; 5];
    let needed = if extra_share { CYCLES_BACK } else { CYCLES_BACK - 1 };
    for (back, hash) in (0..=needed).zip(&mut work_block_hashes) {
        // No block is the work block of a cycle before the first, so zero stays, which no diff can lead to.
        if let Some(height) = network.cycles().work_height_back(cycle, back) {
            *hash = at(height)?;
        }
    }
    let block_hash = at(lowest_requested(network, cycle, reply, headers, &hash_at)?)?;
    let base_block_hashes = bases(reply).into_iter().collect();
    Ok(QRInfoRequestSpec { network, cycle, base_block_hashes, block_hash, extra_share, work_block_hashes })
}

/// Returns the lowest height at which all last commitments can have been mined.
fn lowest_requested(
    network: Network,
    cycle: CycleStart,
    reply: &QRInfo,
    headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
    hash_at: impl Fn(u32) -> Option<BlockHash>,
) -> Result<u32, Missing> {
    // The windows of the cycles before lie below this cycle.
    let window = *network.rotated_params().mining_window(cycle.height()).start();
    let blocks: Vec<_> = reply.last_commitment_per_index.iter().map(|quorum| headers(&quorum_block(&quorum))).collect();
    if blocks.iter().flatten().any(|block| block.height >= cycle.height()) {
        return Ok(window);
    }
    // A quorum block that is not among the headers is an old one only if they reach beyond those of this cycle.
    match blocks.contains(&None) && hash_at(window).is_none() {
        true => Err(Missing::HeaderAt(window)),
        false => Ok(cycle.height()),
    }
}

fn bases(reply: &QRInfo) -> BTreeSet<BlockHash> {
    reply.diffs().map(|diff| diff.base_block_hash).filter(|base| !is_genesis(base)).collect()
}
