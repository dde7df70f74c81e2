use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    thread,
};

use qrinfo_core::{BlockHash, Network, QRInfoRequestSpec, Reply, Request, message::Commitment};

use crate::{
    Checked, CommitmentFault, DiffFault, DiffName, Falsehood, KnownBlock, Level, Lists, Missing, Proof, ProvenDiff,
    SnapshotFault, Unproven, Unverified, VerifiedQuorum, VerifyError,
    bls::is_legacy,
    check::{CycleSnapshot, check, quorum_block, work_height},
    full::{Candidate, CommitmentId, Draw},
    headers::is_genesis,
};

/// How many cycles below the newest one taken the lists are kept: the next request's bases reach down to its own
/// `H-7C`, the one before's `H-6C`.
const CYCLES_KEPT: u32 = 6;

/// The most lists of a kind that are kept between replies: those of `qrinfo`, of which a plan needs seven, and the
/// targets of `mnlistdiff`.
const MAX_KEPT: usize = 32;

/// The most commitments that are remembered as verified. A cycle of mainnet brings about sixty.
const MAX_SETTLED: usize = 1024;

/// Applies replies in the order of their plan and proves the lists that they lead to.
///
/// Each reply's diffs are applied in the order of their targets' heights. After each one the roots of both lists must
/// be those in the target's coinbase, which the header proves. A tip diff that starts from an anchor, whose list nobody
/// has, is never applied.
///
/// A reply either counts as a whole or leaves the stage as it was, so that its request can be put to another peer.
///
/// It keeps the lists that later requests of a plan start from: those of the last seven work blocks, the newest tip,
/// those that were [held](Self::hold), and the 32 highest that came by `mnlistdiff`. They share what did not change. A
/// list whose quorums no coinbase commits to (before DIP-8) is given out and not kept.
///
/// ```
/// use qrinfo_core::{AttemptErrorKind, Network, QRInfoRequestSpec, Reply, Request};
/// use qrinfo_verify::{HeaderMap, Level, ListStage, VerifyError};
///
/// /// What to do with the next reply of the plan.
/// fn deliver(stage: &mut ListStage, headers: &HeaderMap, request: &Request, reply: &Reply) -> Result<(), VerifyError> {
///     match stage.take(request, reply, |hash| headers.find(hash)) {
///         Ok(verified) => {
///             println!("{:?}, not proven: {:?}", verified.lists, verified.unproven);
///             Ok(())
///         }
///         // Nothing was changed: submit the request again, and avoid the peer that sent this.
///         Err(VerifyError::False(falsehood)) => {
///             println!("failed the check {:?}: {falsehood}", falsehood.label());
///             Ok(())
///         }
///         Err(missing) => Err(missing),
///     }
/// }
///
/// let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
/// # let _ = deliver;
/// assert!(stage.lists(0).is_some_and(|lists| lists.masternodes().is_empty()));
/// ```
#[derive(Debug, Clone)]
pub struct ListStage {
    network: Network,
    level: Level,
    threads: NonZeroUsize,
    /// Where plans start: genesis, and what the caller added.
    starts: BTreeMap<u32, Lists>,
    /// The lists that replies to `getqrinfo` brought.
    kept: BTreeMap<u32, Lists>,
    /// Those that replies to `getmnlistd` brought.
    targets: BTreeMap<u32, Lists>,
    tip: Option<Lists>,
    /// Commitments that are not verified again: most come twice, first as an index's last and then as new in a list.
    settled: BTreeSet<CommitmentId>,
}

/// What a reply came to.
#[derive(Debug, Clone)]
pub struct Verified {
    /// How far it was verified.
    pub level: Level,
    /// The lists at the work block of the requested cycle, or at the target of an `mnlistdiff`. `None` at
    /// [`Level::Structure`] alone.
    pub lists: Option<Lists>,
    /// The lists at the peer's tip, unless the tip diff was set aside.
    pub tip: Option<Lists>,
    /// The quorums whose signatures were verified, at [`Level::Full`]; without those that an earlier reply brought.
    pub quorums: Vec<VerifiedQuorum>,
    /// What of the reply is not proven; empty if everything is.
    pub unproven: Vec<Unproven>,
}

/// A reply while it is applied: nothing of it is in the stage yet.
struct Application<'a, H> {
    stage: &'a ListStage,
    headers: &'a H,
    fresh: Vec<(DiffName, Lists)>,
    /// Positions of the last commitments that are proven.
    proven_commitments: BTreeSet<usize>,
    /// Work heights of the snapshots that a signature vouches for.
    proven_snapshots: BTreeSet<u32>,
    quorums: Vec<VerifiedQuorum>,
    /// New commitments of types that are not known here.
    unknown_types: usize,
    /// Whether lists of a block that is not below the requested one show all that was mined by then, and nothing later.
    newest_is_proven: bool,
    settled: Vec<CommitmentId>,
    unproven: Vec<Unproven>,
}

// === impl ListStage ===

impl ListStage {
    /// A stage that has nothing but the empty lists at genesis.
    pub fn new(network: Network, level: Level) -> Self {
        Self {
            network,
            level,
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            starts: BTreeMap::from([(0, Lists::at_genesis(network))]),
            kept: BTreeMap::new(),
            targets: BTreeMap::new(),
            tip: None,
            settled: BTreeSet::new(),
        }
    }

    /// How many threads verify signatures at [`Level::Full`], the calling one included. As many as there are cores
    /// unless told otherwise.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// Keeps lists for good: those that a plan starts from. They are trusted.
    pub fn hold(&mut self, lists: Lists) {
        self.starts.insert(lists.height(), lists);
    }

    /// How far replies are verified.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The lists at a height, if they are kept.
    pub fn lists(&self, height: u32) -> Option<&Lists> {
        let tip = self.tip.as_ref().filter(|tip| tip.height() == height);
        self.kept.get(&height).or_else(|| self.targets.get(&height)).or_else(|| self.starts.get(&height)).or(tip)
    }

    /// All lists that are kept, in no order.
    pub fn kept(&self) -> impl Iterator<Item = &Lists> {
        self.kept.values().chain(self.targets.values()).chain(self.starts.values()).chain(&self.tip)
    }

    /// Verifies a reply, and if it is true takes over its lists.
    ///
    /// This includes [`check`]; a reply that has passed it in an earlier stage costs some microseconds more.
    /// `headers` answers for our best chain, as there; lists of blocks that have left it are dropped.
    ///
    /// # Errors
    /// [`Falsehood`] names the check and the part of the reply, [`Missing`] what our side lacks. Either way the stage
    /// is as it was.
    pub fn take(
        &mut self,
        request: &Request,
        reply: &Reply,
        headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
    ) -> Result<Verified, VerifyError> {
        let checked = check(request, reply, &headers)?;
        if self.level == Level::Structure {
            let (quorums, unproven) = (Vec::new(), vec![Unproven::Lists]);
            return Ok(Verified { level: self.level, lists: None, tip: None, quorums, unproven });
        }
        let mut application = Application {
            stage: self,
            headers: &headers,
            fresh: Vec::new(),
            proven_commitments: BTreeSet::new(),
            proven_snapshots: BTreeSet::new(),
            quorums: Vec::new(),
            unknown_types: 0,
            newest_is_proven: false,
            settled: Vec::new(),
            unproven: Vec::new(),
        };
        application.apply_all(&checked)?;
        application.check_snapshots(&checked)?;
        if let Request::QrInfo(spec) = request {
            application.check_commitments(spec, &checked)?;
        }
        if self.level == Level::Full {
            application.verify_quorums(&checked)?;
        }
        application.tell_unproven(&checked);
        let Application { mut fresh, quorums, settled, unproven, .. } = application;
        let find = |name| fresh.iter().find(|(fresh, _)| *fresh == name).map(|(_, lists)| lists.clone());
        let lists = find(match request {
            Request::QrInfo(_) => DiffName::Cycle { back: 0 },
            Request::MnListDiff(_) => DiffName::Requested,
        });
        let tip = find(DiffName::Tip);
        fresh.retain(|(name, _)| checked.set_aside.iter().all(|diff| diff.name != *name));
        // Nothing can start from quorums that nobody commits to.
        fresh.retain(|(_, lists)| !unproven.contains(&Unproven::Quorums { height: lists.height() }));
        self.keep(request, fresh, &headers);
        self.settled.extend(settled);
        while self.settled.len() > MAX_SETTLED {
            self.settled.pop_first();
        }
        Ok(Verified { level: self.level, lists, tip, quorums, unproven })
    }

    fn keep(
        &mut self,
        request: &Request,
        fresh: Vec<(DiffName, Lists)>,
        headers: &impl Fn(&BlockHash) -> Option<KnownBlock>,
    ) {
        for (name, lists) in fresh {
            match name {
                DiffName::Tip if self.tip.as_ref().is_some_and(|tip| tip.height() > lists.height()) => {}
                DiffName::Tip => self.tip = Some(lists),
                DiffName::Requested => {
                    self.targets.insert(lists.height(), lists);
                }
                _ => {
                    self.kept.insert(lists.height(), lists);
                }
            }
        }
        if let Request::QrInfo(spec) = request
            && let Some(lowest) = spec.network.cycles().work_height_back(spec.cycle_height, CYCLES_KEPT)
        {
            self.kept = self.kept.split_off(&lowest);
        }
        let is_ours = |lists: &Lists| headers(&lists.block_hash()).is_some_and(|block| block.height == lists.height());
        self.tip = self.tip.take().filter(is_ours);
        for lists in [&mut self.kept, &mut self.targets] {
            lists.retain(|_, lists| is_ours(lists));
            while lists.len() > MAX_KEPT {
                lists.pop_first();
            }
        }
    }
}

// === impl Application ===

impl<H: Fn(&BlockHash) -> Option<KnownBlock>> Application<'_, H> {
    /// The lists at a block, of this reply or kept.
    fn find(&self, block: &BlockHash) -> Option<&Lists> {
        let fresh = self.fresh.iter().rev().map(|(_, lists)| lists);
        let is_there = |lists: &&Lists| lists.block_hash() == *block || (is_genesis(block) && lists.height() == 0);
        fresh.chain(self.stage.kept()).find(is_there)
    }

    /// The lists at a height of our chain.
    fn find_at(&self, height: u32) -> Option<&Lists> {
        let is_ours = |lists: &&Lists| (self.headers)(&lists.block_hash()).is_some_and(|block| block.height == height);
        let fresh = self.fresh.iter().map(|(_, lists)| lists);
        fresh.chain(self.stage.kept()).filter(|lists| lists.height() == height).find(is_ours)
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

    /// Compares `quorumsCLSigs` with the coinbases of the work blocks. How many had none to compare with.
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

    /// What was mined by the requested block is in the lists of a later one, unless something newer is.
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

    /// Whether a rotated commitment in the list at `height` is known to have been mined by the requested block. Above that
    /// block only what had its window before is.
    fn is_mined(&self, spec: &QRInfoRequestSpec, commitment: &Commitment, height: u32, requested: u32) -> bool {
        let window_end = || {
            let start = spec.network.cycles().start(self.quorum_height(commitment)?);
            Some(*spec.network.rotated_params().mining_window(start).end())
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
    fn verify_quorums(&mut self, checked: &Checked<'_>) -> Result<(), Falsehood> {
        let last = checked.commitments.iter();
        let last = last.map(|quorum| Candidate::new(quorum.commitment.clone(), quorum.height()));
        let is_applied = |proven: &&ProvenDiff<'_>| self.fresh.iter().any(|(name, _)| *name == proven.name);
        let new = checked.diffs.iter().filter(is_applied).flat_map(|proven| &proven.diff.new_quorums);
        // Of diffs that are not proven themselves those that are in lists which are.
        let set_aside = checked.set_aside.iter().flat_map(|diff| &diff.diff.new_quorums);
        let new = new.chain(set_aside.filter(|commitment| self.is_in_proven_lists(checked, commitment)));
        let new = new.map(|commitment| {
            let height = self.quorum_height(&commitment);
            Candidate::new(commitment, height)
        });
        let mut seen = BTreeSet::new();
        let mut candidates: Vec<_> = last.chain(new).collect();
        candidates.retain(|candidate| !self.stage.settled.contains(&candidate.id) && seen.insert(candidate.id));

        let snapshots = checked.snapshots.iter().map(|snapshot| (snapshot.work_height, snapshot.snapshot)).collect();
        let outcome = Draw::new(self.stage.network, snapshots, |height| self.find_at(height))
            .verify(candidates, self.stage.threads)?;
        self.quorums = outcome.quorums;
        self.unknown_types = outcome.unknown_types;
        self.settled = outcome.settled;
        self.proven_snapshots = outcome.snapshots;
        Ok(())
    }

    fn is_in_proven_lists(&self, checked: &Checked<'_>, commitment: &Commitment) -> bool {
        let is_proven = |name: &DiffName| checked.diffs.iter().any(|diff| diff.name == *name);
        let mut lists = self.fresh.iter().filter(|(name, _)| is_proven(name));
        let (llmq_type, quorum_hash) = (commitment.llmq_type, commitment.quorum_hash);
        lists.any(|(_, lists)| lists.quorums().get(llmq_type, quorum_hash) == Some(commitment))
    }

    fn tell_unproven(&mut self, checked: &Checked<'_>) {
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
                && !self.stage.settled.contains(&id)
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
        let (legacy, without_members) = (count(Unverified::Legacy), count(Unverified::NoMembers));
        let without_members = without_members + self.unknown_types;
        let is_qr_info = checked.diffs.iter().all(|proven| proven.name != DiffName::Requested);
        if is_qr_info && !self.newest_is_proven {
            self.unproven.push(Unproven::Newest);
        }
        if legacy + without_members > 0 {
            self.unproven.push(Unproven::Signatures { legacy, without_members });
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
