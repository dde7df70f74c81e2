//! The verdict on a captured message.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use qrinfo_core::{BlockHash, MnListDiffRequestSpec, Network, Reply, message::MnListDiff};
use qrinfo_verify::{
    DiffFault, Falsehood, HeaderMap, Level, ListStage, Lists, Missing, Unproven, Verified, VerifyError, check,
    infer_request,
};
use spv_headers::HeaderChain;

use super::judgement::{Judgement, Verdict, WHOLE};
use crate::decode;

/// The basis of the verdicts: headers, and the lists that were given or proven before.
pub(super) struct Judge {
    network: Network,
    chain: HeaderChain,
    blocks: HeaderMap,
    stage: ListStage,
}

// === impl Judge ===

impl Judge {
    pub(super) fn new(network: Network, level: Level, (chain, blocks): (HeaderChain, HeaderMap)) -> Self {
        Self { network, chain, blocks, stage: ListStage::new(network, level) }
    }

    /// Applies a `mnlistdiff`, so that messages can start from the lists that it leads to.
    pub(super) fn pin(&mut self, file: &Path) -> Result<()> {
        let lists = self.given_lists(file).with_context(|| format!("list {}", file.display()))?;
        self.stage.pin(lists);
        Ok(())
    }

    /// Verifies the message in a file. An error says that the file cannot be read or that the headers are wrong.
    pub(super) fn file(&mut self, file: &Path) -> Result<Judgement> {
        let reply = match decode::decode(decode::read(Some(file))?, None) {
            Ok(reply) => reply,
            Err(error) => return Ok(Judgement::undecodable(&error)),
        };
        let target = match &reply {
            Reply::QrInfo(reply) => &reply.mn_list_diff_h,
            Reply::MnListDiff(diff) => diff,
        };
        // Wrong heights are the fault of the headers. All else is judged below.
        let _ = self.check_target(target)?;
        Ok(match self.take(&reply) {
            Ok(verified) => match self.off_chain(&reply) {
                Some(block) => self.of_off_chain(&block),
                None => Judgement::of_true(&reply, &verified, self.network.rotated_llmq()),
            },
            Err(VerifyError::False(falsehood)) => Judgement::of_false(falsehood),
            Err(VerifyError::Missing(missing)) => self.of_missing(&missing),
            // Nothing that is not known to be false counts as false.
            Err(other) => Judgement::without_proof(Verdict::Missing, other.to_string(), WHOLE.to_owned()),
        })
    }

    fn take(&mut self, reply: &Reply) -> Result<Verified, VerifyError> {
        let Self { network, chain, blocks, stage } = self;
        let find = |hash: &BlockHash| blocks.find(hash);
        let request = infer_request(*network, reply, find, |height| chain.hash_at(height))?;
        let verified = stage.apply(&request, reply, find)?;
        // The stage drops what a plan does not need any more. The next file may start from any list.
        let proven: Vec<_> = stage.kept().cloned().collect();
        proven.into_iter().for_each(|lists| stage.pin(lists));
        Ok(verified)
    }

    /// The lists that a diff leads to. Their roots are those in its own coinbase, which is proven if there is a header
    /// of the block. Without one, no message can start from the block, and other lists that follow are proven by
    /// theirs.
    fn given_lists(&self, file: &Path) -> Result<Lists> {
        let reply = decode::decode(decode::read(Some(file))?, None)?;
        let Reply::MnListDiff(diff) = &reply else { bail!("is a qrinfo; give an mnlistdiff") };
        match self.check_target(diff)? {
            Ok(()) | Err(VerifyError::Missing(_)) => {}
            Err(falsehood) => return Err(falsehood.into()),
        }
        let base = &diff.base_block_hash;
        let is_genesis = *base == BlockHash::ZERO || *base == self.network.genesis_hash();
        let is_base = |lists: &&Lists| lists.block_hash() == *base || (is_genesis && lists.height() == 0);
        let from = self.stage.kept().find(is_base);
        let from = from.with_context(|| format!("starts from block {base}, whose list is not given before it"))?;
        let (lists, payload) = (from.apply(diff)?, diff.coinbase.payload().context("the coinbase has no payload")?);
        ensure!(lists.height() > from.height(), "leads down from height {} to {}", from.height(), lists.height());
        ensure!(
            payload.merkle_root_quorums.is_some(),
            "no coinbase proves the quorums; give the list at a later block"
        );
        lists.check_roots(payload)?;
        Ok(lists)
    }

    /// Checks a diff by the header of its target alone. The outer error says that the headers do not have the heights
    /// that they are said to have: a coinbase that a header proves names its height.
    fn check_target(&self, diff: &MnListDiff) -> Result<Result<(), VerifyError>> {
        // From genesis, which every header chain has.
        let diff = MnListDiff { base_block_hash: BlockHash::ZERO, ..diff.clone() };
        let block = diff.block_hash;
        let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: block };
        match check(&request.into(), &Reply::from(Box::new(diff)), |hash| self.blocks.find(hash)) {
            Err(VerifyError::False(Falsehood::Diff { fault: DiffFault::CoinbaseHeight { expected, got }, .. })) => {
                bail!(
                    "block {block} has height {got} by its coinbase, and {expected} by the headers; \
                 set --headers-from to the height of the first header"
                )
            }
            checked => Ok(checked.map(drop)),
        }
    }

    /// A block of an old quorum that is not below our headers, and still not among them: one on a fork, or on no chain.
    /// Verification takes every such block for one that is below the headers.
    fn off_chain(&self, reply: &Reply) -> Option<BlockHash> {
        let Reply::QrInfo(reply) = reply else { return None };
        let is_unknown = |block: &BlockHash| self.blocks.find(block).is_none();
        let in_reach = |diff: &&MnListDiff| {
            let height = diff.coinbase.payload().and_then(|payload| u32::try_from(payload.height).ok());
            height.is_some_and(|height| height >= self.first())
        };
        let trailing = reply.mn_list_diff_list.iter().filter(in_reach).map(|diff| diff.block_hash);
        let commitments = reply.last_commitment_per_index.iter().filter(|_| self.first() <= 1);
        let commitments = commitments.map(|quorum| BlockHash::from_bytes(*quorum.quorum_hash.as_bytes()));
        trailing.chain(commitments).find(is_unknown)
    }

    /// The height of the first header whose block can be looked up.
    fn first(&self) -> u32 {
        self.chain.start().saturating_add(1)
    }

    fn of_off_chain(&self, block: &BlockHash) -> Judgement {
        let reason = format!("block {block} is not on the chain of the headers: it may be on a fork");
        Judgement::without_proof(Verdict::Missing, reason, WHOLE.to_owned())
    }

    fn of_missing(&self, missing: &Missing) -> Judgement {
        let (first, last) = (self.first(), self.chain.tip());
        let lacks = |block: String| {
            format!("{block} is not among the headers, which reach from height {first} to {last}; give more of them")
        };
        let (reason, unproven) = match missing {
            Missing::Lists(hash) => {
                let height =
                    self.blocks.find(hash).map_or_else(String::new, |block| format!(" at height {}", block.height));
                let reason = format!(
                    "starts from block {hash}{height}, whose list is not known; give an mnlistdiff to that block with --list"
                );
                // What is judged without lists has passed.
                (reason, Unproven::Lists.to_string())
            }
            Missing::Header(hash) => (lacks(format!("block {hash}")), WHOLE.to_owned()),
            Missing::HeaderAt(height) => (lacks(format!("the block at height {height}")), WHOLE.to_owned()),
            other => (other.to_string(), WHOLE.to_owned()),
        };
        Judgement::without_proof(Verdict::Missing, reason, unproven)
    }
}
