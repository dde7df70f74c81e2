//! The selection of quorum members as in Dash Core: by rotation (DIP-24), and by score alone (DIP-6).

use std::collections::HashMap;

use qrinfo_core::{
    CycleStart, LlmqParams, Network, ProTxHash,
    message::{QuorumSnapshot, SkipListMode, SmlEntry, SmlEntryKind},
};

use super::{modifier::Modifier, unique::UniqueMasternodes};

/// The quarters of a cycle: for each quorum index the members that the cycle selected, a quarter of the quorum.
///
/// The members of a quorum are the quarters of its index in four cycles; see [`rotated_members`]. A masternode stands
/// in a quarter as the list of *that* cycle has it: the key that it signs with is the one that it had when it was drawn.
///
/// No header proves a snapshot. Quarters are therefore only as reliable as the signature of a commitment by the
/// resulting members ([`QuorumCheck`](crate::QuorumCheck)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarters<'a>(Vec<Vec<&'a SmlEntry>>);

/// The rule for deregistered masternodes that were selected in one of the last three cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deregistered {
    /// They count as used when a new quarter is selected: mainnet before v19.
    Used,
    /// They do not count: mainnet from v19 on, testnet always.
    Forgotten,
}

// === impl Quarters ===

impl<'a> Quarters<'a> {
    /// The quarters that a past cycle drew, from the list at its work block, its modifier and its snapshot (Dash Core's
    /// `GetQuorumQuarterMembersBySnapshot`).
    ///
    /// Any snapshot gives a result, in time linear in the list and the skip list, with the semantics of Dash Core: a
    /// missing bit counts as unset, positions that the walk does not reach are never skipped, and nothing is selected
    /// in the modes [`SkipExcept`](SkipListMode::SkipExcept) and [`SkipAll`](SkipListMode::SkipAll), which no server
    /// uses. Without eligible masternodes the quarters are empty.
    pub fn past(
        params: &LlmqParams,
        list: impl IntoIterator<Item = &'a SmlEntry>,
        modifier: &Modifier,
        snapshot: &QuorumSnapshot,
    ) -> Self {
        let mut skips = match snapshot.skip_list_mode {
            SkipListMode::NoSkipping => Vec::new(),
            SkipListMode::SkipFirst => positions(&snapshot.skip_list),
            SkipListMode::SkipExcept | SkipListMode::SkipAll => return Self::empty(params),
        }
        .into_iter()
        .peekable();
        let used_bits = snapshot.active_quorum_members.iter().chain(std::iter::repeat(false));
        let (used, unused): (Vec<_>, Vec<_>) =
            modifier.sort(list).into_iter().zip(used_bits).partition(|(_, used)| *used);
        let combined: Vec<_> = unused.into_iter().chain(used).map(|(entry, _)| entry).collect();

        let mut quarters = Self::empty(params);
        let mut walk = combined.iter().enumerate().cycle();
        for quarter in &mut quarters.0 {
            while quarter.len() < quarter_size(params) {
                let Some((position, entry)) = walk.next() else { return quarters };
                // Each skip passes over one position, so the walk ends.
                if skips.next_if(|skip| usize::try_from(*skip) == Ok(position)).is_none() {
                    quarter.push(*entry);
                }
            }
        }
        quarters
    }

    /// The quarters that a new cycle `H` draws, from the list at its work block, its modifier and the quarters of the
    /// cycles `H-C`, `H-2C` and `H-3C`, in this order (Dash Core's `BuildNewQuorumQuarterMembers`).
    ///
    /// With too few masternodes some or all quarters are empty or short.
    pub fn new(
        params: &LlmqParams,
        list: impl IntoIterator<Item = &'a SmlEntry>,
        modifier: &Modifier,
        past: [&Self; 3],
        deregistered: Deregistered,
    ) -> Self {
        let list: HashMap<ProTxHash, &SmlEntry> =
            list.into_iter().map(|entry| (entry.pro_reg_tx_hash, entry)).collect();
        if list.values().filter(|entry| entry.is_valid).count() < quarter_size(params) {
            return Self::empty(params);
        }
        let still_counts = |entry: &SmlEntry| match list.get(&entry.pro_reg_tx_hash) {
            Some(now) => now.is_valid,
            None => deregistered == Deregistered::Used,
        };

        let mut used = UniqueMasternodes::default();
        let mut used_entries = Vec::new();
        let mut used_by_index = vec![UniqueMasternodes::default(); usize::from(params.active)];
        for (index, used_here) in used_by_index.iter_mut().enumerate() {
            for &entry in past.iter().flat_map(|quarters| quarters.get(index)).filter(|entry| still_counts(entry)) {
                used_here.insert(entry);
                if used.insert(entry) {
                    used_entries.push(entry);
                }
            }
        }
        let unused = list.into_values().filter(|entry| !used.contains(&entry.pro_reg_tx_hash));
        let mut combined = modifier.sort(unused);
        combined.extend(modifier.sort(used_entries));
        draw(params, &combined, used_by_index)
    }

    /// Returns the quarter of one quorum index; empty for an index out of range.
    pub fn get(&self, index: usize) -> &[&'a SmlEntry] {
        self.0.get(index).map_or(&[], Vec::as_slice)
    }

    /// The quarters by quorum index.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[&'a SmlEntry]> {
        self.0.iter().map(Vec::as_slice)
    }

    fn empty(params: &LlmqParams) -> Self {
        Self(vec![Vec::new(); usize::from(params.active)])
    }
}

// === impl Deregistered ===

impl Deregistered {
    /// Returns the rule for a cycle. Devnets and regtest chains are assumed to have v19 from the start of rotation on.
    pub const fn at(network: Network, cycle: CycleStart) -> Self {
        match network {
            Network::Mainnet if cycle.height() < MAINNET_V19 => Self::Used,
            _ => Self::Forgotten,
        }
    }
}

/// Dash Core's `V19Height` of mainnet, which starts a cycle.
const MAINNET_V19: u32 = 1_899_072;

/// The members of each quorum of a cycle, by quorum index and in the order of a commitment's bits: the quarters of
/// `H-3C`, `H-2C`, `H-C` and the new ones.
///
/// `past` are the quarters of `H-C`, `H-2C` and `H-3C`, in this order, as for [`Quarters::new`].
///
/// A quorum index whose DKG failed keeps the quorum of an older cycle. The members of that one are those of *its own*
/// cycle, `H` being the cycle's start that lies at or below the quorum's block.
///
/// ```
/// use qrinfo_core::{Network, message::{QuorumSnapshot, SmlEntry}};
/// use qrinfo_verify::{Deregistered, Modifier, Quarters, rotated_members};
///
/// /// The members of every quorum of the cycle `h`, from what is known at the work blocks of four cycles.
/// fn members<'a>(
///     h: (&'a [SmlEntry], Modifier),
///     past: [(&'a [SmlEntry], Modifier, &QuorumSnapshot); 3],
/// ) -> Vec<Vec<&'a SmlEntry>> {
///     let params = Network::Mainnet.rotated_params();
///     let past = past.map(|(list, modifier, snapshot)| Quarters::past(&params, list, &modifier, snapshot));
///     let past = past.each_ref();
///     let new = Quarters::new(&params, h.0, &h.1, past, Deregistered::Forgotten);
///     rotated_members(past, &new)
/// }
/// # let _ = members;
/// ```
pub fn rotated_members<'a>(past: [&Quarters<'a>; 3], new: &Quarters<'a>) -> Vec<Vec<&'a SmlEntry>> {
    let [h_c, h_2c, h_3c] = past;
    let members = |index| [h_3c, h_2c, h_c, new].iter().flat_map(|quarters| quarters.get(index)).copied().collect();
    (0..new.0.len()).map(members).collect()
}

/// The members of a quorum that is not rotated, in the order of a commitment's bits: the masternodes with the highest
/// scores (Dash Core's `ComputeQuorumMembers`).
///
/// List and modifier are those of the quorum's work block; see [`Modifier::new`] for quorums before v20. `evo_only` for
/// the quorums of Platform (type 4 on mainnet, 6 on testnet) from v19 on, which are drawn from the Evo nodes.
pub fn top_members<'a>(
    params: &LlmqParams,
    list: impl IntoIterator<Item = &'a SmlEntry>,
    modifier: &Modifier,
    evo_only: bool,
) -> Vec<&'a SmlEntry> {
    let is_wanted = |entry: &&SmlEntry| !evo_only || matches!(entry.kind, SmlEntryKind::Evo { .. });
    let mut members = modifier.sort(list.into_iter().filter(is_wanted));
    members.truncate(usize::from(params.size));
    members
}

fn quarter_size(params: &LlmqParams) -> usize {
    usize::from(params.size / 4)
}

/// Fills one quarter after another, never going back: each index walks on from where the one before stopped and passes
/// over those that are in its own quorum already.
fn draw<'a>(
    params: &LlmqParams,
    combined: &[&'a SmlEntry],
    mut used_by_index: Vec<UniqueMasternodes<'a>>,
) -> Quarters<'a> {
    let mut quarters = Quarters::empty(params);
    let mut walk = combined.iter().cycle();
    for (quarter, used_here) in quarters.0.iter_mut().zip(&mut used_by_index) {
        let others = used_here.len();
        let mut passed_over = 0;
        while quarter.len() < quarter_size(params) && others + quarter.len() < combined.len() {
            let Some(entry) = walk.next() else { return quarters };
            if used_here.insert(entry) {
                quarter.push(*entry);
                passed_over = 0;
            } else {
                passed_over += 1;
                if passed_over > combined.len() {
                    return Quarters::empty(params);
                }
            }
        }
    }
    quarters
}

/// The positions that a skip list stands for: absolute until one is not 0, and relative to that one from then on.
fn positions(skip_list: &[i32]) -> Vec<i32> {
    let mut first = 0_i32;
    let position = |skip: &i32| {
        let position = first.wrapping_add(*skip);
        if first == 0 {
            first = *skip;
        }
        position
    };
    skip_list.iter().map(position).collect()
}
