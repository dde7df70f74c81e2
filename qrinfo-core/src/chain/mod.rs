//! The chain: hashes, block headers, networks, kinds of quorum, and the arithmetic of cycles.

mod devnet;
mod dip24;
mod hash;
mod header;
mod llmq;
mod network;

pub use self::{
    devnet::{Devnet, DevnetError},
    dip24::{CYCLES_BACK, CycleStart, Cycles, WORK_BLOCK_OFFSET},
    hash::{BlockHash, Hash256, ParseHashError, ProTxHash, QuorumHash, sha256d},
    header::{BlockHeader, HEADER_LEN, Target},
    llmq::{LlmqParams, LlmqType},
    network::{Network, UnknownNetwork},
};
