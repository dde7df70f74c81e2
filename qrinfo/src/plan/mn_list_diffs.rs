use std::collections::BTreeSet;

use qrinfo_core::{BlockHash, LlmqParams, LlmqType, MnListDiffRequestSpec, Network, QuorumHash, WORK_BLOCK_OFFSET};

use super::PlanError;

/// Makes the requests for the masternode lists from which quorums that are not rotated were drawn.
///
/// A `qrinfo` brings the lists for the rotated quorums alone. The members of every other active quorum are those with
/// the highest scores in the list at [`member_list_height`], and a client that checks its signature needs that list.
///
/// Each request is the step from the list below: its base is the newest list at or below that the client knows or an
/// earlier request brings. Nothing is asked twice, and nothing that is known. The requests are in the order of height,
/// which is the order to apply the replies in; they run like any other plan. A reply answers its request exactly when
/// it gives both blocks back.
///
/// ```
/// use qrinfo::plan::MnListDiffPlanner;
/// use qrinfo_core::{BlockHash, LlmqType, Network, QuorumHash};
///
/// # let hash = |height: u32| { let mut b = [0; 32]; b[..4].copy_from_slice(&height.to_le_bytes()); BlockHash::from_bytes(b) };
/// # let height = |hash: BlockHash| Some(u32::from_le_bytes(*hash.as_bytes().first_chunk()?));
/// # let quorum = |height| QuorumHash::from_bytes(*hash(height).as_bytes());
/// // Of a commitment: (commitment.llmq_type, commitment.quorum_hash).
/// let active = [
///     (LlmqType(4), quorum(2_240_424)),
///     (LlmqType(2), quorum(2_240_352)),
///     (LlmqType(4), quorum(2_240_352)),
///     (LlmqType(5), quorum(2_240_353)), // rotated
///     (LlmqType(4), quorum(2_240_400)),
/// ];
/// // What the newest `qrinfo` brought: the lists at the work blocks of five cycles.
/// let known_lists = [2_239_192, 2_239_480, 2_239_768, 2_240_056, 2_240_344].into();
/// let planner = MnListDiffPlanner { network: Network::Mainnet, known_lists };
/// let plan = planner.plan(active, height, |height| Some(hash(height)))?;
///
/// let steps: Vec<_> = plan.iter().map(|spec| (spec.base_block_hash, spec.block_hash)).collect();
/// assert_eq!(steps, [(hash(2_240_344), hash(2_240_392)), (hash(2_240_392), hash(2_240_416))]);
/// # Ok::<(), qrinfo::plan::PlanError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MnListDiffPlanner {
    /// The network asked.
    pub network: Network,
    /// Heights of the lists that the client holds when it applies the first reply. The empty list of block 0 need not
    /// be among them.
    pub known_lists: BTreeSet<u32>,
}

/// The height of the list from which the members of a quorum that is not rotated are drawn, for a quorum that is named
/// by the block at `quorum_height`: its work block, eight blocks below (Dash Core's `GetAllQuorumMembers`).
///
/// Before v20 it was the quorum's own block. On mainnet the last 24 quorums of type 1 are older than that, and stay
/// active. Devnets and regtest chains are assumed to have v20 from the start of rotation on.
///
/// ```
/// use qrinfo::plan::member_list_height;
/// use qrinfo_core::Network;
///
/// assert_eq!(member_list_height(Network::Mainnet, 2_240_352), 2_240_344);
/// assert_eq!(member_list_height(Network::Mainnet, 1_738_680), 1_738_680);
/// ```
pub const fn member_list_height(network: Network, quorum_height: u32) -> u32 {
    let v20_height = match network {
        Network::Mainnet => MAINNET_V20,
        Network::Testnet => TESTNET_V20,
        Network::Devnet(_) | Network::Regtest => 0,
    };
    // It counts for the block behind the one looked at.
    match quorum_height.saturating_add(1) < v20_height {
        true => quorum_height,
        false => quorum_height.saturating_sub(WORK_BLOCK_OFFSET),
    }
}

/// Dash Core's `V20Height` of mainnet.
const MAINNET_V20: u32 = 1_987_776;

/// Dash Core's `V20Height` of testnet.
const TESTNET_V20: u32 = 905_100;

// === impl MnListDiffPlanner ===

impl MnListDiffPlanner {
    /// One request for each list that is missing, lowest first. `height_of` gives the height of a block of our header
    /// chain, `hash_at` the reverse.
    ///
    /// Rotated quorums are passed over. Every other one is planned for, in whatever order they come: leave out the
    /// types that the client does not verify. On mainnet that should be type 1, see [`member_list_height`].
    ///
    /// # Errors
    /// [`PlanError::UnknownQuorum`] if a quorum's block is not in our headers, [`PlanError::MissingHeader`] if a list's
    /// or a base's is not.
    pub fn plan(
        &self,
        quorums: impl IntoIterator<Item = (LlmqType, QuorumHash)>,
        height_of: impl Fn(BlockHash) -> Option<u32>,
        hash_at: impl Fn(u32) -> Option<BlockHash>,
    ) -> Result<Vec<MnListDiffRequestSpec>, PlanError> {
        let mut targets = BTreeSet::new();
        for (llmq_type, quorum_hash) in quorums.into_iter().filter(|(llmq_type, _)| !is_rotated(*llmq_type)) {
            let height = height_of(BlockHash::from_bytes(*quorum_hash.as_bytes()))
                .ok_or(PlanError::UnknownQuorum { llmq_type, quorum_hash })?;
            targets.insert(member_list_height(self.network, height));
        }
        let hash = |height| match height {
            0 => Ok(self.network.genesis_hash()),
            _ => hash_at(height).ok_or(PlanError::MissingHeader(height)),
        };
        let mut brought = 0;
        targets
            .into_iter()
            .filter(|target| *target > 0 && !self.known_lists.contains(target))
            .map(|target| {
                let known = self.known_lists.range(..target).next_back().copied().unwrap_or(0);
                let base = known.max(brought);
                brought = target;
                Ok(MnListDiffRequestSpec { base_block_hash: hash(base)?, block_hash: hash(target)? })
            })
            .collect()
    }
}

fn is_rotated(llmq_type: LlmqType) -> bool {
    llmq_type.params().is_some_and(|LlmqParams { rotated, .. }| rotated)
}
