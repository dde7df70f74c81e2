//! The members of rotated quorums (DIP-24), as Dash Core draws them.

use std::{collections::HashSet, sync::Arc};

use qrinfo_core::{
    LlmqParams, ProTxHash,
    message::{QuorumSnapshot, SkipListMode, SmlEntry},
};

use super::{Modifier, by_score};

/// The quarter of every quorum index that one cycle drew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarters(Vec<Vec<Arc<SmlEntry>>>);

// === impl Quarters ===

impl Quarters {
    /// Returns empty quarters: the state before the first cycle.
    pub(crate) fn empty(params: &LlmqParams) -> Self {
        Self(vec![Vec::new(); usize::from(params.active)])
    }

    /// The quarters of a past cycle, from its work block's list, its modifier and its snapshot.
    pub(crate) fn from_snapshot(
        params: &LlmqParams,
        list: &[Arc<SmlEntry>],
        modifier: Modifier,
        snapshot: &QuorumSnapshot,
    ) -> Self {
        let sorted = by_score(list, modifier);
        let is_used = |place: usize| snapshot.active_quorum_members.get(place).unwrap_or(false);
        let (used, unused): (Vec<_>, Vec<_>) = sorted.into_iter().enumerate().partition(|(place, _)| is_used(*place));
        let combined: Vec<_> = unused.into_iter().chain(used).map(|(_, entry)| entry).collect();
        let mut skips = match snapshot.skip_list_mode {
            SkipListMode::NoSkipping => Vec::new(),
            SkipListMode::SkipFirst => absolute(&snapshot.skip_list),
            SkipListMode::SkipExcept | SkipListMode::SkipAll => return Self::empty(params),
        }
        .into_iter()
        .peekable();

        let mut quarters = Self::empty(params);
        // Each skip passes over one place, so that a walk which skips ends.
        let mut walk = combined.iter().enumerate().cycle();
        for quarter in &mut quarters.0 {
            while quarter.len() < usize::from(params.size / 4) {
                let Some((place, entry)) = walk.next() else { return quarters };
                if skips.next_if(|skip| usize::try_from(*skip) == Ok(place)).is_none() {
                    quarter.push(Arc::clone(entry));
                }
            }
        }
        quarters
    }

    /// The quarters that a new cycle draws, and the snapshot of how it did. `None` where there are not masternodes
    /// enough; no snapshot is stored then. `past` are the three cycles before, the latest first.
    pub(crate) fn new(
        params: &LlmqParams,
        list: &[Arc<SmlEntry>],
        modifier: Modifier,
        past: &[Self; 3],
        leaves_out_removed: bool,
    ) -> Option<(Self, QuorumSnapshot)> {
        let quarter_size = usize::from(params.size / 4);
        let sorted = by_score(list, modifier);
        if list.iter().filter(|entry| entry.is_valid).count() < quarter_size {
            return None;
        }
        let listed: HashSet<_> = list.iter().map(|entry| entry.pro_reg_tx_hash).collect();
        let banned: HashSet<_> =
            list.iter().filter(|entry| !entry.is_valid).map(|entry| entry.pro_reg_tx_hash).collect();
        let still_used = |entry: &&Arc<SmlEntry>| {
            let hash = entry.pro_reg_tx_hash;
            !(leaves_out_removed && !listed.contains(&hash) || banned.contains(&hash))
        };
        let mut used_in: Vec<HashSet<ProTxHash>> = vec![HashSet::new(); usize::from(params.active)];
        let mut used = HashSet::new();
        let mut used_entries = Vec::new();
        for (index, used_here) in used_in.iter_mut().enumerate() {
            for entry in past.iter().filter_map(|quarters| quarters.0.get(index)).flatten().filter(still_used) {
                used_here.insert(entry.pro_reg_tx_hash);
                if used.insert(entry.pro_reg_tx_hash) {
                    used_entries.push(Arc::clone(entry));
                }
            }
        }
        let unused = sorted.iter().filter(|entry| !used.contains(&entry.pro_reg_tx_hash)).cloned();
        let combined: Vec<_> = unused.chain(by_score(&used_entries, modifier)).collect();

        let (quarters, skip_list) = draw(params, &combined, used_in)?;
        let is_used =
            |place| sorted.get(place).is_some_and(|entry: &Arc<SmlEntry>| used.contains(&entry.pro_reg_tx_hash));
        let snapshot = QuorumSnapshot {
            skip_list_mode: if skip_list.is_empty() { SkipListMode::NoSkipping } else { SkipListMode::SkipFirst },
            active_quorum_members: (0..list.len()).map(is_used).collect(),
            skip_list,
        };
        Some((quarters, snapshot))
    }

    /// The members of each quorum: its quarters from the oldest to the new one.
    pub(crate) fn members(past: &[Self; 3], new: &Self) -> Vec<Vec<Arc<SmlEntry>>> {
        let [first, second, third] = past;
        let oldest_first = [third, second, first, new];
        let quarters_of = |index: usize| oldest_first.iter().filter_map(move |quarters| quarters.0.get(index));
        (0..new.0.len()).map(|index| quarters_of(index).flatten().cloned().collect()).collect()
    }
}

/// Fills one quarter after another from the combined list, without masternodes that are in that index already.
fn draw(
    params: &LlmqParams,
    combined: &[Arc<SmlEntry>],
    mut used_in: Vec<HashSet<ProTxHash>>,
) -> Option<(Quarters, Vec<i32>)> {
    let quarter_size = usize::from(params.size / 4);
    let mut quarters = Quarters::empty(params);
    let mut skips = Vec::new();
    let mut place = 0;
    for (quarter, used_here) in quarters.0.iter_mut().zip(&mut used_in) {
        let used_before = used_here.len();
        let start = place;
        let mut grew = false;
        while quarter.len() < quarter_size && used_before + quarter.len() < combined.len() {
            let entry = combined.get(place)?;
            if used_here.insert(entry.pro_reg_tx_hash) {
                quarter.push(Arc::clone(entry));
                grew = true;
            } else {
                skips.push(place);
            }
            place = (place + 1) % combined.len();
            if place == start {
                if !grew {
                    return None;
                }
                grew = false;
            }
        }
    }
    Some((quarters, relative(&skips)))
}

/// Positions as a snapshot has them: absolute until one is not 0, which the later ones are relative to.
fn relative(places: &[usize]) -> Vec<i32> {
    let first = places.iter().position(|place| *place != 0);
    let origin = first.and_then(|first| places.get(first)).copied().unwrap_or(0) as i32;
    let is_absolute = |at: usize| first.is_none_or(|first| at <= first);
    places
        .iter()
        .enumerate()
        .map(|(at, place)| if is_absolute(at) { *place as i32 } else { *place as i32 - origin })
        .collect()
}

/// The inverse of [`relative`].
fn absolute(skip_list: &[i32]) -> Vec<i32> {
    let mut origin = 0;
    let mut place = |skip: &i32| {
        if origin == 0 {
            origin = *skip;
            return *skip;
        }
        skip.saturating_add(origin)
    };
    skip_list.iter().map(&mut place).collect()
}
