//! Simulated peers, and a loop that drives a `Scheduler` against them in virtual time.

#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod peers;
pub mod run;

use std::time::{Duration, Instant};

use qrinfo_core::{Attempt, BlockHash, MnListDiffRequestSpec, PeerId, Reply, Request, message::MnListDiff};
use qrinfo_scheduler::{Event, Scheduler};
use spv_testkit::{LinkModel, Transit};

/// The height of every peer's tip.
pub const HEIGHT: u32 = 2_000_000;

/// The cost of a request at one peer.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub compute: Duration,
    pub transfer: Duration,
    pub bytes: u64,
    pub refused: bool,
}

// === impl Cost ===

impl Cost {
    /// The arrival of the answer to a request that is sent at `now`. Of a refusal only the end is seen, the pong.
    pub fn serve(&self, link: &mut LinkModel, now: Instant) -> Transit {
        match self.refused {
            true => link.answer(now, self.compute, Duration::ZERO, 0),
            false => link.answer(now, self.compute, self.transfer, self.bytes),
        }
    }
}

pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub fn us(micros: f64) -> Duration {
    Duration::from_secs_f64(micros / 1e6)
}

pub fn peer_id(index: usize) -> PeerId {
    PeerId::Address(([10, 0, 0, index as u8 + 1], 9999).into())
}

/// The block that job `id` asks for.
pub fn hash(id: u64) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    BlockHash::from_bytes(bytes)
}

pub fn attempt(id: u64) -> Attempt {
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: hash(id) };
    Attempt::new(id, spec.into())
}

/// The block that a request asks for.
pub fn block(request: &Request) -> BlockHash {
    match request {
        Request::MnListDiff(spec) => spec.block_hash,
        Request::QrInfo(spec) => spec.block_hash,
    }
}

/// The shortest reply about this block.
pub fn reply(block_hash: BlockHash) -> Reply {
    Reply::MnListDiff(Box::new(MnListDiff::empty(BlockHash::ZERO, block_hash)))
}

/// The next event about a request; those about peers are dropped.
pub fn decision(scheduler: &mut Scheduler) -> Option<Event> {
    std::iter::from_fn(|| scheduler.event()).find(|event| !matches!(event, Event::Peer(_)))
}
