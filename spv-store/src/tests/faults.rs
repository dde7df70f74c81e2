//! A failure or a crash at every write, every change of the length and every sync of a sync.
//!
//! The files of replies are not on this disk, but on a real one that does not fail.

use std::{collections::HashSet, ops::Range, path::Path};

use bytes::Bytes;
use qrinfo_core::{BlockHash, BlockHeader, Network, client::StoredReply};

use super::{Disk, Failure, chain, hash, headers};
use crate::{Store, error::Outcome};

/// Blocks of a cycle.
const CYCLE: u32 = 24;

/// All that a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    headers: Vec<(BlockHeader, BlockHash)>,
    /// Cycles with the blocks that their replies were requested by.
    replies: Vec<(u32, BlockHash)>,
    lists: Vec<(u32, Bytes)>,
    state: Option<Vec<u8>>,
}

type Step = fn(&Store, u32) -> Outcome<()>;

/// The changes of a cycle in a sync, of which each is there as a whole or not at all.
const STEPS: [Step; 6] = [
    |store, cycle| store.store_headers(blocks(cycle).start, &headers(blocks(cycle), 2)),
    // A reorganization.
    |store, cycle| store.store_headers(blocks(cycle).start, &headers(blocks(cycle), 1)),
    |store, cycle| store.store_reply(&reply(cycle)),
    |store, cycle| {
        store.store_lists(&[(blocks(cycle).end, vec![3; 2_000].into())], |height| height + 7 * CYCLE > cycle * CYCLE)
    },
    |store, cycle| store.store_masternode_state(&[cycle as u8; 3_000]),
    // The reply of an old cycle turned out to be false.
    |store, cycle| store.delete_reply(cycle.saturating_sub(5) * CYCLE),
];

fn blocks(cycle: u32) -> Range<u32> {
    cycle * CYCLE + 1..(cycle + 1) * CYCLE + 1
}

fn reply(cycle: u32) -> StoredReply {
    let height = cycle * CYCLE;
    StoredReply { cycle_height: height, block_hash: hash(height + 23, 1), payload: Bytes::from(vec![cycle as u8; 500]) }
}

fn open(disk: &Disk, replies: &Path) -> Outcome<Store> {
    Store::open_on(disk.clone(), Network::Regtest, replies.to_owned())
}

/// Makes the changes of a cycle from number `from` on, up to one that fails. Returns the number of the first that is not
/// reported as made, and the disks that may be found after a crash at this point.
fn sync(disk: &Disk, replies: &Path, cycle: u32, from: usize) -> (usize, Vec<Disk>) {
    let store = open(disk, replies);
    let made = store.as_ref().map_or(from, |store| {
        let failed = (from..STEPS.len()).find(|step| STEPS[*step](store, cycle).is_err());
        failed.unwrap_or(STEPS.len())
    });
    let lost: [fn(usize) -> bool; 3] = [|_| false, |number| number % 2 == 0, |number| number % 2 == 1];
    let mut found: Vec<_> = lost.into_iter().map(|is_there| disk.after_power_loss(is_there)).collect();
    found.push(disk.copy());
    // It is closed, as far as the disk works.
    drop(store);
    found.push(disk.copy());
    (made, found)
}

/// Syncs these cycles, and tries each possible failure on the way. Returns their number.
fn fail_everywhere(cycles: Range<u32>) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let replies = directory.path();
    let (mut before, mut tried) = (Disk::default(), 0);
    // One that is cut off while it is made is made again under the same name, see `Store::open`.
    drop(open(&before, replies).unwrap());
    for cycle in cycles {
        let after = before.copy();
        let mut contents = vec![Content::of(&open(&after, replies).unwrap(), cycle)];
        contents.extend(STEPS.map(|step| {
            let store = open(&after, replies).unwrap();
            step(&store, cycle).unwrap();
            Content::of(&store, cycle)
        }));
        let mut seen = HashSet::new();
        for failure in [Failure::Once, Failure::Forever] {
            for changes in 0.. {
                let disk = before.copy();
                disk.fail_after(changes, failure);
                let (made, found) = sync(&disk, replies, cycle, 0);
                let place = format!("cycle {cycle}, {failure:?} after {changes} changes");
                let new = found.iter().filter(|disk| seen.insert((made, disk.bytes())));
                new.for_each(|disk| resume(disk, replies, cycle, made, &contents, &place));
                if !disk.has_failed() {
                    break;
                }
                tried += 1;
            }
        }
        before = after;
    }
    tried
}

/// Checks that all that was reported as made is there, and nothing half, and makes the rest.
fn resume(disk: &Disk, replies: &Path, cycle: u32, made: usize, contents: &[Content], place: &str) {
    let store = open(disk, replies).unwrap_or_else(|error| panic!("{place}: {error}"));
    let found = Content::of(&store, cycle);
    drop(store);
    let from = contents.iter().skip(made).take(2).position(|content| *content == found);
    let from = made + from.unwrap_or_else(|| panic!("{place}: {made} changes were made, and others are there"));
    let (made, _) = sync(disk, replies, cycle, from);
    assert_eq!(made, STEPS.len(), "{place}: it does not go on");
    assert!(Content::of(&open(disk, replies).unwrap(), cycle) == contents[STEPS.len()], "{place}: the end differs");
}

// === impl Content ===

impl Content {
    fn of(store: &Store, cycles: u32) -> Self {
        Self {
            headers: chain(store),
            replies: (0..=cycles)
                .filter_map(|cycle| Some((cycle, store.reply_block(cycle * CYCLE).unwrap()?)))
                .collect(),
            lists: store.lists().unwrap(),
            state: store.masternode_state().unwrap(),
        }
    }
}

#[test]
fn a_failure_at_any_change_loses_nothing_that_was_reported() {
    let tried = fail_everywhere(0..1);
    assert!(tried > 50, "{tried}");
}

/// Takes minutes: `cargo nextest run --release -p spv-store --run-ignored only`.
#[test]
#[ignore = "takes minutes"]
fn a_failure_at_any_change_of_64_cycles_loses_nothing_that_was_reported() {
    let tried = fail_everywhere(0..64);
    assert!(tried > 64 * 50, "{tried}");
}
