//! The application of one reply to the lists that the stage keeps.

use std::{collections::BTreeSet, num::NonZeroUsize};

use qrinfo_core::{BlockHash, Network, QRInfoRequestSpec, Request, message::Commitment};

use super::{
    check::{Checked, CycleSnapshot, ProvenDiff},
    error::{CommitmentFault, DiffFault, DiffName, Falsehood, Missing, SnapshotFault, VerifyError},
    kept::Kept,
    level::Unproven,
    signatures::{self, Candidate, CommitmentId, VerifiedQuorum},
};
use crate::{
    headers::{KnownBlock, is_genesis},
    lists::Lists,
    quorum::{MemberSelector, Proof, Unverified, is_legacy, quorum_block, work_height},
};

/// A reply while it is applied. Nothing of it is kept yet.
pub(super) struct Application<'a, H> {
    network: Network,
    kept: &'a Kept,
    headers: &'a H,
    fresh: Vec<(DiffName, Lists)>,
    /// Positions of the last commitments that are proven.
    proven_commitments: BTreeSet<usize>,
    /// Work heights of the snapshots that a members' signature confirms.
    proven_snapshots: BTreeSet<u32>,
    quorums: Vec<VerifiedQuorum>,
    /// New commitments of types without parameters.
    unknown_types: usize,
    /// True if lists of a block at or above the requested one contain everything that was mined by then, and nothing
    /// later.
    newest_is_proven: bool,
    verified: Vec<CommitmentId>,
    unproven: Vec<Unproven>,
}

/// The result of a true reply.
pub(super) struct Applied {
    pub(super) fresh: Vec<(DiffName, Lists)>,
    pub(super) quorums: Vec<VerifiedQuorum>,
    /// Commitments that need not be verified again.
    pub(super) verified: Vec<CommitmentId>,
    pub(super) unproven: Vec<Unproven>,
}

// === impl Application ===

impl<'a, H: Fn(&BlockHash) -> Option<KnownBlock>> Application<'a, H> {
    pub(super) fn new(network: Network, kept: &'a Kept, headers: &'a H) -> Self {
        Self {
            network,
            kept,
            headers,
            fresh: Vec::new(),
            proven_commitments: BTreeSet::new(),
            proven_snapshots: BTreeSet::new(),
            quorums: Vec::new(),
            unknown_types: 0,
            newest_is_proven: false,
            verified: Vec::new(),
            unproven: Vec::new(),
        }
    }

    /// Proves the reply as far as the lists allow, and its signatures if there are threads for them.
    pub(super) fn run(
        mut self,
        request: &Request,
        checked: &Checked<'_>,
        threads: Option<NonZeroUsize>,
    ) -> Result<Applied, VerifyError> {
        self.apply_all(checked)?;
        self.check_snapshots(checked)?;
        if let Request::QrInfo(spec) = request {
            self.check_commitments(spec, checked)?;
        }
        if let Some(threads) = threads {
            self.verify_quorums(checked, threads)?;
        }
        self.add_unproven(checked);
        let Self { fresh, quorums, verified, unproven, .. } = self;
        Ok(Applied { fresh, quorums, verified, unproven })
    }

    /// Returns the lists at a block, from this reply or kept.
    fn find(&self, block: &BlockHash) -> Option<&Lists> {
        let fresh = self.fresh.iter().rev().map(|(_, lists)| lists);
        let is_there = |lists: &&Lists| lists.block_hash() == *block || (is_genesis(block) && lists.height() == 0);
        fresh.chain(self.kept.iter()).find(is_there)
    }

    /// Returns the lists at a height of our chain.
    fn find_at(&self, height: u32) -> Option<&Lists> {
        let is_ours = |lists: &&Lists| (self.headers)(&lists.block_hash()).is_some_and(|block| block.height == height);
        let fresh = self.fresh.iter().map(|(_, lists)| lists);
        fresh.chain(self.kept.iter()).filter(|lists| lists.height() == height).find(is_ours)
    }

    fn apply_all(&mut self, checked: &Checked<'_>) -> Result<(), VerifyError> {
        let mut is_tip_applied = false;
        let mut unknown_signatures = 0;
        let mut diffs: Vec<_> = checked.set_aside.iter().chain(checked.diffs()).collect();
        diffs.sort_by_key(|diff| (diff.height, diff.base_height));
        for proven in diffs {
            let base = &proven.diff.base_block_hash;
            match self.find(base) {
                Some(lists) => {
                    let after = self.apply(lists, proven)?;
                    self.fresh.push((proven.name, after));
                    unknown_signatures += self.check_chain_locks(proven)?;
                    is_tip_applied |= proven.name == DiffName::Tip;
                }
                // From an anchor.
                None if proven.name == DiffName::Tip => {}
                None => return Err(Missing::Lists(*base).into()),
            }
            if proven.payload.merkle_root_quorums.is_none() {
                self.unproven.push(Unproven::Quorums { height: proven.height });
            }
        }
        let has_tip = checked.tip_is_unknown || checked.diffs.iter().any(|proven| proven.name == DiffName::Tip);
        if has_tip && !is_tip_applied {
            self.unproven.push(Unproven::TipDiff);
        }
        if !checked.set_aside.is_empty() {
            let names = checked.set_aside.iter().map(|diff| diff.name).collect();
            self.unproven.push(Unproven::TrailingDiffs(names));
        }
        if unknown_signatures > 0 {
            self.unproven.push(Unproven::ChainLockSignatures(unknown_signatures));
        }
        Ok(())
    }

    fn apply(&self, base: &Lists, proven: &ProvenDiff<'_>) -> Result<Lists, Falsehood> {
        let faulty = |fault: DiffFault| Falsehood::diff(proven.name, fault);
        let after = base.apply(proven.diff).map_err(|fault| faulty(fault.into()))?;
        after.check_roots(proven.payload).map_err(|fault| faulty(fault.into()))?;
        // The same lists by another way: those that are there share more.
        Ok(self.find(&after.block_hash()).cloned().unwrap_or(after))
    }

    /// Compares `quorumsCLSigs` with the coinbases of the work blocks. Returns the number of signatures without such a
    /// coinbase.
    fn check_chain_locks(&self, proven: &ProvenDiff<'_>) -> Result<usize, Falsehood> {
        if proven.diff.quorums_cl_sigs.is_empty() {
            return Ok(0);
        }
        let quorums = proven.diff.new_quorums.to_vec();
        let mut unknown = 0;
        for group in &proven.diff.quorums_cl_sigs {
            for place in group.indexes.iter().map(|&index| usize::from(index)) {
                // `check` has seen that each index is one of a new quorum.
                let Some(quorum) = quorums.get(place) else { continue };
                let work_height = self.quorum_height(quorum).and_then(|height| work_height(quorum, height));
                match work_height.and_then(|height| self.find_at(height)) {
                    Some(lists) if *lists.chain_lock().unwrap_or(&[0; 96]) != group.signature => {
                        let fault = DiffFault::ChainLockSignature { place, work_height: lists.height() };
                        return Err(Falsehood::diff(proven.name, fault));
                    }
                    Some(lists) if lists.height() > 0 => {}
                    _ => unknown += 1,
                }
            }
        }
        Ok(unknown)
    }

    fn check_snapshots(&self, checked: &Checked<'_>) -> Result<(), Falsehood> {
        for snapshot in &checked.snapshots {
            if let Some(lists) = self.find_at(snapshot.work_height) {
                let fault = check_snapshot(snapshot, lists);
                fault.map_err(|fault| Falsehood::Snapshot { diff: snapshot.diff, fault })?;
            }
        }
        Ok(())
    }

    /// Compares the last commitments with the quorums that are active at the work block and at the tip.
    fn check_commitments(&mut self, spec: &QRInfoRequestSpec, checked: &Checked<'_>) -> Result<(), VerifyError> {
        let requested = (self.headers)(&spec.block_hash).ok_or(Missing::Header(spec.block_hash))?.height;
        let shown = [DiffName::Cycle { back: 0 }, DiffName::Tip];
        for (_, lists) in self.fresh.iter().filter(|(name, _)| shown.contains(name)) {
            let height = lists.height();
            let mut all_mined = true;
            for active in lists.quorums().iter().filter(|quorum| quorum.llmq_type == spec.network.rotated_llmq()) {
                let is_mined = self.is_mined(spec, active, height, requested);
                all_mined &= is_mined;
                let index = active.quorum_index.unwrap_or_default();
                let mut commitments = checked.commitments.iter();
                match commitments.find(|quorum| quorum.commitment.quorum_index == Some(index)) {
                    Some(quorum) if quorum.commitment == *active => {
                        self.proven_commitments.insert(quorum.place);
                    }
                    Some(quorum) => {
                        let faulty = |fault| Falsehood::Commitment { place: quorum.place, fault };
                        if quorum.commitment.quorum_hash == active.quorum_hash {
                            return Err(faulty(CommitmentFault::Differs { height }).into());
                        }
                        // A block that is not in our headers may be newer, unless these are the lists asked for.
                        let is_older = match quorum.height() {
                            Some(at) => self.quorum_height(active) > Some(at),
                            None => height == requested,
                        };
                        if is_mined && is_older {
                            return Err(faulty(CommitmentFault::Stale { height }).into());
                        }
                    }
                    None if is_mined => return Err(Falsehood::NoCommitment { index, height }.into()),
                    None => {}
                }
            }
            if height >= requested {
                self.check_newer(lists, checked)?;
                self.newest_is_proven |= all_mined;
            }
            self.check_schemes(lists, checked)?;
        }
        Ok(())
    }

    /// Checks that commitments mined by the requested block are in the lists of a later one, unless a newer one
    /// replaced them.
    fn check_newer(&self, lists: &Lists, checked: &Checked<'_>) -> Result<(), Falsehood> {
        for quorum in &checked.commitments {
            let same_index = |active: &&Commitment| {
                active.llmq_type == quorum.commitment.llmq_type && active.quorum_index == quorum.commitment.quorum_index
            };
            let active = lists.quorums().iter().find(same_index);
            let at = active.and_then(|active| self.quorum_height(active));
            let is_unknown = active.is_some() && at.is_none();
            if !is_unknown && (active.is_none() || at < quorum.height()) {
                let fault = CommitmentFault::NeverMined { height: lists.height() };
                return Err(Falsehood::Commitment { place: quorum.place, fault });
            }
        }
        Ok(())
    }

    /// Returns true if a rotated commitment in the list at `height` was certainly mined by the requested block: above
    /// that block, only if its mining window ended before.
    fn is_mined(&self, spec: &QRInfoRequestSpec, commitment: &Commitment, height: u32, requested: u32) -> bool {
        let window_end = || {
            let start = spec.network.cycles().start_of(self.quorum_height(commitment)?);
            Some(*spec.network.rotated_params().mining_window(start.height()).end())
        };
        height <= requested || window_end().is_some_and(|end| end < requested)
    }

    /// Once a chain has commitments of the scheme since v19, it has no new ones of the scheme before.
    fn check_schemes(&self, lists: &Lists, checked: &Checked<'_>) -> Result<(), Falsehood> {
        let mut old = checked.commitments.iter().filter(|quorum| is_legacy(&quorum.commitment)).peekable();
        if old.peek().is_none() {
            return Ok(());
        }
        let newer = lists.quorums().iter().filter(|quorum| !is_legacy(quorum));
        let Some(since) = newer.filter_map(|quorum| self.quorum_height(quorum)).min() else { return Ok(()) };
        match old.find(|quorum| quorum.height() >= Some(since)) {
            Some(quorum) => {
                let fault = CommitmentFault::OldScheme { version: quorum.commitment.version, height: lists.height() };
                Err(Falsehood::Commitment { place: quorum.place, fault })
            }
            None => Ok(()),
        }
    }

    /// Draws the members of the reply's quorums and verifies their signatures.
    fn verify_quorums(&mut self, checked: &Checked<'_>, threads: NonZeroUsize) -> Result<(), Falsehood> {
        let last = checked.commitments.iter();
        let last = last.map(|quorum| Candidate::new(quorum.commitment.clone(), quorum.height()));
        let is_applied = |proven: &&ProvenDiff<'_>| self.fresh.iter().any(|(name, _)| *name == proven.name);
        let new = checked.diffs.iter().filter(is_applied).flat_map(|proven| &proven.diff.new_quorums);
        // From diffs that are not proven, only those in lists that are.
        let set_aside = checked.set_aside.iter().flat_map(|diff| &diff.diff.new_quorums);
        let new = new.chain(set_aside.filter(|commitment| self.is_in_proven_lists(checked, commitment)));
        let new = new.map(|commitment| {
            let height = self.quorum_height(&commitment);
            Candidate::new(commitment, height)
        });
        let mut seen = BTreeSet::new();
        let mut candidates: Vec<_> = last.chain(new).collect();
        candidates.retain(|candidate| !self.kept.is_verified(&candidate.id) && seen.insert(candidate.id));

        let snapshots = checked.snapshots.iter().map(|snapshot| (snapshot.work_height, snapshot.snapshot)).collect();
        let selector = MemberSelector::new(self.network, snapshots, |height| self.find_at(height));
        let outcome = signatures::verify(self.network, selector, candidates, threads)?;
        self.quorums = outcome.quorums;
        self.unknown_types = outcome.unknown_types;
        self.verified = outcome.done;
        self.proven_snapshots = outcome.snapshots;
        Ok(())
    }

    fn is_in_proven_lists(&self, checked: &Checked<'_>, commitment: &Commitment) -> bool {
        let is_proven = |name: &DiffName| checked.diffs.iter().any(|diff| diff.name == *name);
        let mut lists = self.fresh.iter().filter(|(name, _)| is_proven(name));
        let (llmq_type, quorum_hash) = (commitment.llmq_type, commitment.quorum_hash);
        lists.any(|(_, lists)| lists.quorums().get(llmq_type, quorum_hash) == Some(commitment))
    }

    fn add_unproven(&mut self, checked: &Checked<'_>) {
        let snapshots = checked.snapshots.iter();
        let snapshots = snapshots.filter(|snapshot| !self.proven_snapshots.contains(&snapshot.work_height));
        let snapshots: Vec<_> = snapshots.map(|snapshot| snapshot.diff).collect();
        if !snapshots.is_empty() {
            self.unproven.push(Unproven::Snapshots(snapshots));
        }
        let signed = |commitment: &Commitment| {
            let is_signed = |quorum: &&VerifiedQuorum| quorum.proof.members_sig == Proof::Verified;
            self.quorums.iter().filter(is_signed).any(|quorum| quorum.commitment == *commitment)
        };
        let commitments = checked.commitments.iter().filter(|quorum| {
            let id = Candidate::new(quorum.commitment.clone(), quorum.height()).id;
            !self.proven_commitments.contains(&quorum.place)
                && !self.kept.is_verified(&id)
                && !signed(&quorum.commitment)
        });
        let commitments: Vec<_> = commitments.filter_map(|quorum| quorum.commitment.quorum_index).collect();
        if !commitments.is_empty() {
            self.unproven.push(Unproven::Commitments(commitments));
        }
        let count = |reason| {
            let is_unverified = |quorum: &&VerifiedQuorum| quorum.proof.members_sig == Proof::Unverified(reason);
            self.quorums.iter().filter(is_unverified).count()
        };
        let (legacy, legacy_members) = (count(Unverified::Legacy), count(Unverified::LegacyMembers));
        let without_members = count(Unverified::NoMembers) + self.unknown_types;
        let is_qr_info = checked.diffs.iter().all(|proven| proven.name != DiffName::Requested);
        if is_qr_info && !self.newest_is_proven {
            self.unproven.push(Unproven::Newest);
        }
        if legacy + legacy_members + without_members > 0 {
            self.unproven.push(Unproven::Signatures { legacy, legacy_members, without_members });
        }
    }

    /// The height of a quorum's block, if it is on our chain.
    fn quorum_height(&self, commitment: &Commitment) -> Option<u32> {
        (self.headers)(&quorum_block(commitment)).map(|block| block.height)
    }
}

fn check_snapshot(snapshot: &CycleSnapshot<'_>, lists: &Lists) -> Result<(), SnapshotFault> {
    let bits = &snapshot.snapshot.active_quorum_members;
    let (expected, got) = (lists.masternodes().len(), bits.len());
    if expected != got {
        return Err(SnapshotFault::BitCount { expected, got });
    }
    let scored = lists.masternodes().scored();
    if let Some((place, _)) = bits.iter().enumerate().skip(scored).find(|(_, is_used)| *is_used) {
        return Err(SnapshotFault::BitBeyondScores { place, scored });
    }
    // Before v19 masternodes that had left the list were walked over as well.
    let is_v19 = lists.quorums().iter().any(|quorum| !is_legacy(quorum));
    let end = if is_v19 { scored } else { usize::MAX };
    // The first position counts from the start, the others from the first.
    let mut first = 0;
    for &position in &snapshot.snapshot.skip_list {
        let position = i64::from(position) + first;
        if usize::try_from(position).ok().is_none_or(|position| position >= end) {
            return Err(SnapshotFault::SkipPosition(position));
        }
        if first == 0 {
            first = position;
        }
    }
    Ok(())
}
