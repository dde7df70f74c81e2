//! A stretch of the chain that is fetched in one piece.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use qrinfo_core::{BlockHash, Network, PeerId};

use crate::{
    HeaderError,
    check::{CheckedHeader, Place, Run},
    target::{Pace, WINDOW, Window},
};

/// The number of times that peers which could not bring a segment further are asked again.
const CHANCES: u32 = 3;

/// The last block of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) block: (u32, BlockHash),
    /// `true` for a waypoint: if peers know another block at its height, it is given up, and no peer is blamed.
    pub(crate) is_waypoint: bool,
}

/// The headers between two blocks that are known ahead; or those above the last of them, as far as peers have them.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: u32,
    /// The block below the first header.
    pub(crate) start: (u32, BlockHash),
    /// The last block; `None` above the newest block that is known ahead.
    pub(crate) end: Option<End>,
    /// `true` if the block below the first header is a waypoint: a peer that does not know it is not blamed.
    pub(crate) is_from_waypoint: bool,
    /// `true` once the chain has reached the block below the first header.
    pub(crate) is_linked: bool,
    /// Peers that do not know that waypoint.
    pub(crate) strangers: BTreeSet<PeerId>,
    /// The headers below the first one, and below those that were compared with them, once the chain has reached the
    /// waypoint. `None` if there is nothing to compare.
    seam: Option<Window>,
    /// The block from which the next question goes on. Headers up to it have arrived; not all are checked.
    pub(crate) head: (u32, BlockHash),
    window: Window,
    first_window: Window,
    /// The number of messages that have arrived, and of those whose headers are in `ready`.
    arrived: u64,
    ordered: u64,
    /// Checked headers whose turn has not come.
    waiting: BTreeMap<u64, Run>,
    /// Checked headers in order, not yet taken.
    ready: VecDeque<Run>,
    /// The number of fresh starts. Questions and checks from before a fresh start are not used.
    pub(crate) generation: u32,
    /// `true` while a compressed message is being completed: the block to go on from is not known yet.
    pub(crate) is_completing: bool,
    /// Peers whose headers are in the segment.
    pub(crate) sources: BTreeSet<PeerId>,
    /// Peers that cannot bring the segment further.
    pub(crate) unfit: BTreeSet<PeerId>,
    /// Peers that did not know the headers which others had sent for it. Each objection counts once.
    pub(crate) objectors: BTreeSet<PeerId>,
    /// Blocks at the height of the waypoint that it ends at, each with the peer whose headers led there.
    pub(crate) rivals: BTreeMap<PeerId, BlockHash>,
    /// `true` if headers of different peers did not fit together: all of the segment is to come from one peer.
    by_one: bool,
    /// The number of times that the unfit peers are still asked again when there are no others.
    pub(crate) chances: u32,
}

// === impl Segment ===

impl Segment {
    pub(crate) fn new(id: u32, start: (u32, BlockHash), end: Option<End>, window: Window) -> Self {
        Self {
            id,
            start,
            end,
            is_from_waypoint: false,
            is_linked: false,
            strangers: BTreeSet::new(),
            seam: None,
            head: start,
            first_window: window.clone(),
            window,
            arrived: 0,
            ordered: 0,
            waiting: BTreeMap::new(),
            ready: VecDeque::new(),
            generation: 0,
            is_completing: false,
            sources: BTreeSet::new(),
            unfit: BTreeSet::new(),
            objectors: BTreeSet::new(),
            rivals: BTreeMap::new(),
            by_one: false,
            chances: CHANCES,
        }
    }

    /// The place of the header after the head.
    pub(crate) fn place(&self) -> Place {
        Place { height: self.head.0.saturating_add(1), window: self.window.clone() }
    }

    /// Takes note of headers that follow the head, before they are checked. Returns the number of their message.
    pub(crate) fn arrive(&mut self, paces: impl IntoIterator<Item = Pace>, head: (u32, BlockHash)) -> u64 {
        paces.into_iter().for_each(|pace| self.window.push(pace));
        self.head = head;
        self.arrived += 1;
        self.arrived - 1
    }

    /// Takes checked headers, in any order of their messages.
    pub(crate) fn check_in(&mut self, message: u64, headers: &[CheckedHeader]) {
        self.waiting.insert(message, Run::new(headers));
        while let Some(run) = self.waiting.remove(&self.ordered) {
            self.ready.push_back(run);
            self.ordered += 1;
        }
    }

    /// Gives the headers of the message whose turn has come.
    pub(crate) fn take(&mut self) -> Vec<CheckedHeader> {
        self.ready.pop_front().map_or(Vec::new(), Run::into_checked)
    }

    /// Takes note that the chain has reached the waypoint below the first header. `below` are its newest headers.
    pub(crate) fn link(&mut self, below: Window) {
        self.is_linked = true;
        match self.head == self.start {
            true => self.window = below.clone(),
            false => self.seam = Some(below.clone()),
        }
        self.first_window = below;
    }

    /// Checks the targets of the first 24 headers: when they arrived, the headers below the waypoint were not known.
    /// `height` is that of the first of `headers`.
    pub(crate) fn check_seam(
        &mut self,
        network: Network,
        height: u32,
        headers: &[CheckedHeader],
    ) -> Result<(), HeaderError> {
        let end = self.start.0.saturating_add(WINDOW as u32);
        let Some(window) = &mut self.seam else { return Ok(()) };
        for (position, (height, CheckedHeader { header, .. })) in (height..=end).zip(headers).enumerate() {
            let bits = header.bits();
            if let Some(expected) = window.next_bits(network, height, header.time())
                && expected != bits
            {
                return Err(HeaderError::WrongTarget { position, bits, expected });
            }
            window.push(Pace::from(header));
        }
        Ok(())
    }

    /// The number of checked headers that the segment holds.
    pub(crate) fn held(&self) -> usize {
        self.ready.iter().chain(self.waiting.values()).map(Run::len).sum()
    }

    /// Returns `true` if everything that has arrived is checked and taken.
    pub(crate) fn is_checked(&self) -> bool {
        self.ordered == self.arrived && !self.is_completing && self.ready.is_empty()
    }

    /// Returns `true` if the segment's last block has arrived and all of it is checked and taken.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_checked() && self.is_at_end()
    }

    /// Returns `true` if the segment's last block has arrived; some of its headers may not be checked yet.
    pub(crate) fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| end.block == self.head)
    }

    /// Returns `true` for another block at the height of the last one.
    pub(crate) fn is_wrong_end(&self, reached: (u32, BlockHash)) -> bool {
        self.end.is_some_and(|end| end.block.0 == reached.0 && end.block != reached)
    }

    /// Goes on to another end, above the present one.
    pub(crate) fn go_on_to(&mut self, end: Option<End>) {
        self.end = end;
        self.rivals.clear();
        self.unfit.clear();
        self.chances = CHANCES;
    }

    /// The peer that has to bring the rest of the segment.
    pub(crate) fn only_source(&self) -> Option<PeerId> {
        self.sources.first().copied().filter(|_| self.by_one)
    }

    /// Starts afresh, from one peer alone: the headers did not fit together, or did not end at the checkpoint. A peer
    /// that was the only source already is not asked for the segment again.
    pub(crate) fn restart(&mut self) {
        match self.by_one {
            true => self.unfit.append(&mut self.sources),
            false => self.sources.clear(),
        }
        self.by_one = true;
        self.go_back(self.start, self.first_window.clone());
    }

    /// Goes back to a block up to which headers were taken.
    pub(crate) fn go_back(&mut self, head: (u32, BlockHash), window: Window) {
        self.head = head;
        self.window = window;
        self.arrived = 0;
        self.ordered = 0;
        self.waiting.clear();
        self.ready.clear();
        self.is_completing = false;
        self.seam = None;
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use qrinfo_core::BlockHeader;

    use super::*;

    fn header(time: u32, bits: u32) -> CheckedHeader {
        let mut bytes = [0; 80];
        bytes[68..72].copy_from_slice(&time.to_le_bytes());
        bytes[72..76].copy_from_slice(&bits.to_le_bytes());
        CheckedHeader { header: BlockHeader::from_bytes(bytes), hash: BlockHash::ZERO }
    }

    /// Headers behind a waypoint are judged by form until the chain reaches it; then their targets have to follow.
    #[test]
    fn the_first_targets_behind_a_waypoint_have_to_follow_from_the_headers_below_it() {
        let below: Window = (0..24).map(|n| Pace { time: 150 * n, bits: 0x1b10_0000 }).collect();
        let (mut window, mut right) = (below.clone(), Vec::new());
        for n in 24..60 {
            let bits = window.next_bits(Network::Mainnet, 50_001 + n, 150 * n).unwrap();
            window.push(Pace { time: 150 * n, bits });
            right.push(header(150 * n, bits));
        }
        let check = |headers: &[CheckedHeader], parts: usize| {
            let mut segment = Segment::new(1, (50_000, BlockHash::ZERO), None, Window::default());
            let paces = headers.iter().map(|header| Pace::from(&header.header));
            segment.arrive(paces, (50_000 + headers.len() as u32, BlockHash::from_bytes([1; 32])));
            segment.link(below.clone());
            let firsts = (50_001..).step_by(parts);
            firsts
                .zip(headers.chunks(parts))
                .try_for_each(|(first, part)| segment.check_seam(Network::Mainnet, first, part))
        };
        for position in [0, 1, 12, 23] {
            let mut easy = right.clone();
            easy[position] = header(150 * (24 + position as u32), 0x1e0f_ffff);
            for parts in [1, 5, 36] {
                assert_eq!(check(&right, parts), Ok(()));
                let error = check(&easy, parts).unwrap_err();
                assert!(matches!(error, HeaderError::WrongTarget { bits: 0x1e0f_ffff, .. }), "{position}: {error:?}");
            }
        }
    }
}
