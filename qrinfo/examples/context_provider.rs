//! Quorum keys for Platform: `cargo run -p qrinfo --features verify --example context_provider`.
//!
//! Platform's SDK asks a `ContextProvider` for the key of the quorum that signed a proof. Here the quorum book answers,
//! filled from a made-up chain.
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;

use qrinfo::book::{Lookup, QuorumBook};
use qrinfo_core::{BlockHash, BlockHeader, LlmqType, QuorumHash, message::GetMnListDiff};
use qrinfo_verify::{HeaderMap, Lists};
use spv_testkit::{SyntheticChain, SyntheticParams, builder};

/// The adapter. Put it into an `impl ContextProvider`, with the SDK's error type.
struct Provider(QuorumBook);

impl Provider {
    fn get_quorum_public_key(
        &self,
        quorum_type: u32,
        mut quorum_hash: [u8; 32],
        core_chain_locked_height: u32,
    ) -> Result<[u8; 48], String> {
        // Platform writes hashes in the order in which they are printed.
        quorum_hash.reverse();
        let llmq_type = u8::try_from(quorum_type).map(LlmqType).map_err(|_| "no such type".to_owned())?;
        match self.0.public_key(llmq_type, &QuorumHash::from_bytes(quorum_hash)) {
            Lookup::Found(quorum) => Ok(quorum.public_key),
            Lookup::NotYet { synced_to, wait_for } => Err(format!("at {synced_to}; try again at {wait_for}")),
            Lookup::Unknown if self.0.synced_to() < core_chain_locked_height => Err("try again later".to_owned()),
            Lookup::Unknown => Err("no such quorum".to_owned()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // What a follower does: proven lists of ascending height go into the book.
    let chain = SyntheticChain::generate(7, &SyntheticParams::regtest()).chain;
    let hash_at = |height| chain.block(height).map(|block| block.hash);
    let mut headers = HeaderMap::default();
    for height in 0..=chain.tip() {
        let block = chain.block(height).ok_or("no block")?;
        headers.insert(height, block.hash, &BlockHeader::from_bytes(block.header));
    }
    let (mut writer, book) = QuorumBook::new(chain.network());
    let mut lists = Lists::at_genesis(chain.network());
    for height in [700, 716] {
        let block_hash: BlockHash = hash_at(height).ok_or("no block")?;
        let request = GetMnListDiff { base_block_hash: lists.block_hash(), block_hash };
        lists = lists.apply(&builder::mn_list_diff(&chain, &request)?)?;
        writer.advance(&lists, |hash| headers.find(hash), hash_at);
    }

    let provider = Provider(book);
    for quorum in lists.quorums().iter().filter(|quorum| quorum.llmq_type == LlmqType(106)) {
        let mut hash = *quorum.quorum_hash.as_bytes();
        hash.reverse();
        let key = provider.get_quorum_public_key(106, hash, 716)?;
        println!("quorum {}: key {:02x}{:02x}{:02x}...", quorum.quorum_hash, key[0], key[1], key[2]);
    }
    println!("an unknown one: {:?}", provider.get_quorum_public_key(106, [7; 32], 716));
    println!("a newer one: {:?}", provider.get_quorum_public_key(106, [7; 32], 720));
    Ok(())
}
