//! The tips of all peers, for the vote.

use super::*;

impl Machine {
    pub(super) fn ask_for_tips(&mut self, now: Instant) {
        let best = self.best();
        let is_idle = |state: &&Peer| state.questions.is_empty() && !state.is_checking;
        // Much is missing: that is fetched as a segment, by one peer and not by all of them.
        let is_far =
            |state: &Peer| state.view == View::Unknown && self.cap(state, now) > best.height.saturating_add(SHORT);
        if self.segments.is_empty() && self.peers.values().filter(is_idle).any(is_far) {
            return self.reopen();
        }
        let idle = self.peers.iter().filter(|(_, state)| is_idle(state));
        let questions: Vec<_> = idle
            .filter_map(|(&peer, state)| {
                let is_short = state.view == View::Unknown && !state.is_elsewhere;
                Some((peer, self.tip_question(state, best, now)?, is_short))
            })
            .collect();
        for (peer, from, is_short) in questions {
            let (locator, stop) = match self.tree.hash_at(Spot::trunk(self.tree.trunk.start().saturating_add(1))) {
                Some(first) if is_short => (self.tree.ends(from), first),
                _ => (self.tree.locator(from), BlockHash::ZERO),
            };
            self.ask(peer, Subject::Tip { era: self.era }, Some(from), locator, stop, now);
        }
    }

    /// The block from which a peer is asked for its tip, if it is.
    pub(super) fn tip_question(&self, state: &Peer, best: Spot, now: Instant) -> Option<Spot> {
        let lower = |spot: Spot| {
            let height = state.facts.height.min(spot.height).saturating_sub(1).max(self.tree.trunk.start());
            self.tree.ancestor(spot, height)
        };
        match state.view {
            View::Doubtful => Some(lower(best)),
            View::Unknown if self.segments.is_empty() => Some(best),
            View::Has(spot) if self.segments.is_empty() && !self.is_cut(state, spot, now) => Some(spot),
            _ => None,
        }
    }

    /// Goes on with the headers above the trunk.
    pub(super) fn reopen(&mut self) {
        let tip = (self.tree.trunk.tip(), self.tree.trunk.tip_hash());
        let window = self.tree.trunk.place_after(tip.0).window;
        self.reopened = self.reopened.wrapping_add(1);
        self.segments.push_back(Segment::new(u32::MAX - self.reopened, tip, None, window));
    }

    /// The block that the most is known below: the tip of a peer, else of the trunk.
    pub(super) fn best(&self) -> Spot {
        let tips = self.peers.values().filter_map(|peer| peer.view.spot());
        tips.chain([self.tree.trunk_tip()])
            .max_by_key(|spot| (spot.height, *spot == self.tree.trunk_tip()))
            .unwrap_or_else(|| self.tree.trunk_tip())
    }

    pub(super) fn tip_answer(&mut self, peer: PeerId, question: &Question, raw: Raw) {
        let Some(prev) = raw.prev_block_hash() else {
            return self.empty_answer(peer, question, question.head, question.since);
        };
        let from = self.tree.find(&prev);
        // The peer does not have our newest block. The long locator tells where its chain leaves ours.
        if from == Some(Spot::trunk(self.tree.trunk.start()))
            && let [_, _] = *question.locator
            && let Some(state) = self.peers.get_mut(&peer).filter(|state| !state.is_elsewhere)
        {
            state.is_elsewhere = true;
            return;
        }
        // Headers that others had sent may have been taken back since the peer was told of them.
        if from.is_none() && !question.locator.iter().any(|(_, hash)| *hash == prev) {
            return self.drop_peer(peer, DropReason::False(HeaderError::Unconnected(prev)));
        }
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(from) = from else {
            state.view = View::Unknown;
            return;
        };
        state.is_checking = true;
        let place = self.tree.place_after(from);
        let purpose = Purpose::Branch { from, is_full: raw.is_full(), era: self.era };
        self.actions.push_back(Action::Check(Check { peer, purpose, place, raw }));
    }

    pub(super) fn branch_checked(
        &mut self,
        peer: PeerId,
        from: Spot,
        is_full: bool,
        mut headers: Vec<CheckedHeader>,
        now: Instant,
    ) {
        let Some(state) = self.peers.get(&peer) else { return };
        let cap = self.tip_cap(state, now);
        let room = cap.saturating_sub(from.height) as usize;
        let is_cut = headers.len() > room;
        headers.truncate(room);
        let spot = self.tree.add(self.tree.ancestor(from, from.height), &headers);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.is_checking = false;
        let is_short = !is_full && spot.height < state.facts.height;
        state.short_answers += u32::from(is_short);
        let is_tip = (!is_full && !is_short && !is_cut) || state.short_answers > SHORT_ANSWERS;
        self.set_view(peer, if is_tip { View::Tip(spot) } else { View::Has(spot) }, now);
    }

    /// The peer has nothing after the newest block of the locator that it has.
    pub(super) fn empty_answer(&mut self, peer: PeerId, question: &Question, head: Option<Spot>, now: Instant) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let announced = state.facts.height;
        if let View::Has(spot) = state.view
            && head.map(|head| self.tree.ancestor(head, head.height)) == Some(spot)
        {
            return self.set_tip(peer, spot, now);
        }
        let told = question.locator.iter().map(|(spot, _)| *spot).find(|spot| spot.height == announced);
        match (told, state.view) {
            (Some(spot), _) => self.set_tip(peer, self.tree.ancestor(spot, spot.height), now),
            // A segment may begin at a waypoint with a wrong height, which may be the peer's tip.
            (None, View::Doubtful) if matches!(question.subject, Subject::Tip { .. }) => {
                self.drop_peer(peer, DropReason::NoHeaders);
            }
            (None, _) => state.view = View::Doubtful,
        }
    }

    pub(super) fn set_tip(&mut self, peer: PeerId, spot: Spot, now: Instant) {
        self.set_view(peer, View::Tip(spot), now);
    }

    pub(super) fn set_view(&mut self, peer: PeerId, view: View, now: Instant) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.view = view;
            self.first_tip.get_or_insert(now);
        }
    }
}
