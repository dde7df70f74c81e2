//! A job as a request and its reply.
//!
//! Job `j` is the cycle with the number `j + 5`, so that all that a request names lies behind the first block. Hashes
//! are made up: a word that says what they stand for, and the number of the cycle.

use qrinfo_core::{
    BlockHash, Hash256, QRInfoRequestSpec,
    message::{Coinbase, CoinbasePayload, GetQRInfo, MnListDiff, QRInfo, QuorumSnapshot, SkipListMode},
    wire::{Bits, Seq},
};

use super::NETWORK;

/// The number of bytes of the shortest reply: its lists, snapshots and proofs are empty.
pub const SHORTEST_REPLY: u64 = 857;

const FIRST_CYCLE: u32 = 5;

/// The meaning of a made-up block hash.
#[derive(Clone, Copy)]
enum Block {
    /// The block that a job asks for.
    Asked,
    /// A cycle's work block.
    Work,
    /// The tip of every peer.
    Tip,
}

/// The request of a job.
///
/// It asks from genesis and without the extra share. Jobs of different runs and scenarios are the same.
///
/// ```
/// use spv_testkit::scenario::request;
///
/// assert_eq!(request(7), request(7));
/// assert_ne!(request(7).block_hash, request(8).block_hash);
/// ```
pub fn request(job: usize) -> QRInfoRequestSpec {
    let cycle = cycle_of(job);
    QRInfoRequestSpec {
        network: NETWORK,
        cycle: NETWORK.cycles().start_of(cycle.saturating_mul(NETWORK.cycles().length())),
        base_block_hashes: Vec::new(),
        block_hash: hash(Block::Asked, cycle),
        extra_share: false,
        work_block_hashes: [0, 1, 2, 3, 4].map(|back| hash(Block::Work, cycle.saturating_sub(back))),
    }
}

/// The job that a message asks for, or `None` if it asks for none.
pub(super) fn asked(request: &GetQRInfo) -> Option<usize> {
    let cycle = u32::from_le_bytes(*request.block_hash.as_bytes().last_chunk()?);
    let job = usize::try_from(cycle.checked_sub(FIRST_CYCLE)?).ok()?;
    (hash(Block::Asked, cycle) == request.block_hash).then_some(job)
}

/// The reply to a job, `bytes` long; at least [`SHORTEST_REPLY`].
pub(super) fn reply(job: usize, bytes: u64) -> QRInfo {
    let cycle = cycle_of(job);
    let diff = |block, cycle| MnListDiff {
        coinbase: coinbase(cycle),
        ..MnListDiff::empty(NETWORK.genesis_hash(), hash(block, cycle))
    };
    let snapshot = || QuorumSnapshot {
        skip_list_mode: SkipListMode::NoSkipping,
        active_quorum_members: Bits::default(),
        skip_list: Vec::new(),
    };
    let work = |back| diff(Block::Work, cycle.saturating_sub(back));
    let mut reply = QRInfo {
        quorum_snapshot_at_h_minus_c: snapshot(),
        quorum_snapshot_at_h_minus_2c: snapshot(),
        quorum_snapshot_at_h_minus_3c: snapshot(),
        mn_list_diff_tip: diff(Block::Tip, 0),
        mn_list_diff_h: work(0),
        mn_list_diff_at_h_minus_c: work(1),
        mn_list_diff_at_h_minus_2c: work(2),
        mn_list_diff_at_h_minus_3c: work(3),
        extra_share: None,
        last_commitment_per_index: Seq::default(),
        quorum_snapshot_list: Vec::new(),
        mn_list_diff_list: Vec::new(),
    };
    let (most, rest) = padding(usize::try_from(bytes.saturating_sub(SHORTEST_REPLY)).unwrap_or(usize::MAX));
    reply.mn_list_diff_tip.merkle_flags = vec![0; most].into();
    reply.mn_list_diff_h.merkle_flags = vec![0; rest].into();
    reply
}

/// Returns the lengths of two byte strings that together take `extra` bytes more than two empty ones. The length prefix
/// of a string grows by 2 bytes at 253 and by 4 at 65,536, so one string does not reach every length.
fn padding(extra: usize) -> (usize, usize) {
    let most = match extra {
        0..=252 => extra,
        253..=65_537 => (extra - 2).clamp(252, 65_535),
        _ => (extra - 4).max(65_535),
    };
    let prefix = match most {
        0..=252 => 0,
        253..=65_535 => 2,
        _ => 4,
    };
    (most, extra - most - prefix)
}

fn coinbase(cycle: u32) -> Coinbase {
    Coinbase::new(CoinbasePayload {
        version: 1,
        height: i32::try_from(cycle.saturating_mul(NETWORK.cycles().length())).unwrap_or(i32::MAX),
        merkle_root_mn_list: Hash256::ZERO,
        merkle_root_quorums: None,
        credit_pool: None,
    })
}

fn cycle_of(job: usize) -> u32 {
    u32::try_from(job).unwrap_or(u32::MAX).saturating_add(FIRST_CYCLE)
}

fn hash(block: Block, cycle: u32) -> BlockHash {
    let word: [u8; 28] = match block {
        Block::Asked => *b"the block that a job asks fo",
        Block::Work => *b"the work block of this cycle",
        Block::Tip => *b"the tip of a simulated peer.",
    };
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(word.into_iter().chain(cycle.to_le_bytes())) {
        *to = from;
    }
    BlockHash::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use qrinfo_core::{Reply, Request, wire::Wire};

    use super::*;

    #[test]
    fn a_reply_has_every_length_from_the_shortest_on() {
        let steps = [0, 252, 65_535, 65_540, 100_000, 3_000_000 - SHORTEST_REPLY];
        for extra in steps.into_iter().flat_map(|step| step.saturating_sub(6)..step + 7) {
            let wire = reply(9, SHORTEST_REPLY + extra).to_wire();
            assert_eq!(wire.len() as u64, SHORTEST_REPLY + extra);
            assert_eq!(QRInfo::from_wire(wire), Ok(reply(9, SHORTEST_REPLY + extra)));
        }
        assert_eq!(reply(9, 0).to_wire().len() as u64, SHORTEST_REPLY);
    }

    #[test]
    fn a_reply_answers_the_request_of_its_job_alone() {
        for asked in [0, 1, 4, 199] {
            for answered in [0, 1, 4, 199] {
                let reply = Reply::QrInfo(Box::new(reply(answered, 5_000)));
                let fits = Request::from(request(asked)).check_reply(&reply).is_ok();
                assert_eq!(fits, asked == answered, "{asked} {answered}");
            }
        }
    }

    #[test]
    fn a_request_names_its_job() {
        let message = |job| {
            let spec = request(job);
            GetQRInfo { base_block_hashes: Vec::new(), block_hash: spec.block_hash, extra_share: spec.extra_share }
        };
        for job in [0, 1, 255, 256, 100_000] {
            assert_eq!(asked(&message(job)), Some(job));
        }
        for block_hash in [BlockHash::ZERO, hash(Block::Work, 9), hash(Block::Asked, 4)] {
            assert_eq!(asked(&GetQRInfo { block_hash, ..message(0) }), None);
        }
    }
}
