//! The masternode list and the active quorums at one block, for chains without rotated quorums.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use qrinfo::{
    AttemptService, OrderedSync, Peer, SequentialOptions, SequentialSync, SyncReport, nodes::on_one_line,
    verify::Verifier,
};
use qrinfo_core::{BlockHash, MnListDiffRequestSpec, Network, PeerId, Reply};
use qrinfo_verify::{HeaderMap, Level, ListStage, Lists, VerifyError};

/// The time for the list. The nodes have answered other requests before.
const LONGEST: Duration = Duration::from_secs(20);

/// The lists at a block, proven by its coinbase.
pub(super) struct TipLists {
    pub(super) lists: Lists,
    pub(super) peer: PeerId,
    pub(super) bytes: u64,
}

// === impl TipLists ===

impl TipLists {
    /// Returns `true` if the chain is proven to have no rotated quorum at the block: its coinbase commits to all quorums
    /// that are active.
    pub(super) fn prove_no_rotation(&self, network: Network) -> bool {
        !quorums_by_type(&self.lists).contains_key(&network.rotated_llmq().0)
    }
}

/// The number of active quorums of each type.
pub(super) fn quorums_by_type(lists: &Lists) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    lists.quorums().iter().for_each(|quorum| *counts.entry(quorum.llmq_type.0).or_default() += 1);
    counts
}

/// Asks the nodes for the lists at a block, one after the other, until one sends true ones.
pub(super) async fn fetch<S>(
    network: Network,
    block_hash: BlockHash,
    peers: Vec<Peer<S>>,
    headers: Arc<HeaderMap>,
) -> Result<(Option<TipLists>, SyncReport)>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    let spec = MnListDiffRequestSpec { base_block_hash: network.genesis_hash(), block_hash };
    let mut verifier = Verifier::new(ListStage::new(network, Level::Roots), move |hash| headers.find(hash));
    let options = SequentialOptions { total_timeout: Some(LONGEST), ..SequentialOptions::default() };
    let mut sync = SequentialSync::new([spec.clone()], peers, options);
    let mut found = None;
    while let Some(delivered) = sync.next().await {
        let peer = delivered.timing.peer;
        match verifier.take(spec.clone(), &delivered.reply).await {
            Ok(verified) => {
                let is_proven = matches!(&delivered.reply, Reply::MnListDiff(diff)
                    if diff.coinbase.payload().is_some_and(|payload| payload.merkle_root_quorums.is_some()));
                let lists = verified.lists.filter(|_| is_proven);
                found = lists.map(|lists| TipLists { lists, peer, bytes: delivered.timing.bytes });
            }
            Err(VerifyError::False(falsehood)) => {
                eprintln!("qrinfo: {peer} sent a false reply: {}", on_one_line(&falsehood));
                sync.reject_last(falsehood);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((found, sync.into_report()))
}
