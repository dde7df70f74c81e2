//! Segments: from the chain so far to the newest checkpoint, and above it as far as one peer goes on.

use super::*;

impl Machine {
    /// Moves the next checked headers of the lowest segment to the trunk: one message at a time, because delivered ones
    /// take more room.
    pub(super) fn deliver(&mut self) {
        while let Some(segment) = self.segments.front_mut() {
            let tip = self.tree.trunk.tip();
            if !segment.is_linked {
                segment.link(self.tree.trunk.place_after(tip).window);
            }
            let headers = segment.take();
            if let Err(error) = segment.check_seam(self.rules.network, tip.saturating_add(1), &headers) {
                let id = segment.id;
                return self.wrong_seam(id, error);
            }
            let is_complete = segment.is_complete();
            if is_complete {
                self.segments.pop_front();
            }
            if !headers.is_empty() {
                return self.deliver_on(tip, headers);
            }
            if !is_complete {
                return;
            }
        }
    }

    pub(super) fn ask_for_segments(&mut self, now: Instant) {
        let ids: Vec<u32> = self.segments.iter().map(|segment| segment.id).collect();
        let mut held: usize = self.segments.iter().map(Segment::held).sum();
        for (index, id) in ids.into_iter().enumerate() {
            // The lowest goes on in any case: it makes room.
            if index > 0 && held >= MAX_HELD {
                break;
            }
            held += self.ask_for_segment(id, index, now) * MAX_HEADERS;
        }
        self.give_way(now);
        // Above the newest checkpoint there is an end when no peer brings it further.
        let is_last = self.segments.len() == 1;
        let is_open = self.segments.front().is_some_and(|segment| segment.end.is_none() && segment.is_checked());
        if is_last && is_open && self.is_exhausted(now) {
            self.segments.clear();
            self.forget_unknown();
        }
    }

    /// Handles a stall: no peer has had the next headers of the lowest segment for a while. Peers that had no answer
    /// for it are asked again, a few times. After that, peers are asked for their tips instead.
    pub(super) fn give_way(&mut self, now: Instant) {
        let Some((end, segment)) = self.segments.front().and_then(|segment| Some((segment.end?.block.0, segment)))
        else {
            self.stalled = None;
            return;
        };
        let is_waypoint = segment.end.is_some_and(|end| end.is_waypoint);
        let can = |state: &Peer| self.cap(state, now) >= end;
        let fit = |(peer, state): (&PeerId, &Peer)| {
            can(state) && !segment.unfit.contains(peer) && !(is_waypoint && self.is_late(state, now))
        };
        if self.peers.is_empty() || segment.is_at_end() || self.peers.iter().any(fit) {
            self.stalled = None;
            return;
        }
        let any_can = self.peers.values().any(can);
        let is_over = now.saturating_duration_since(*self.stalled.get_or_insert(now)) >= LATE;
        match self.segments.front_mut() {
            Some(segment) if is_over && any_can && is_waypoint => {
                let id = segment.id;
                self.stalled = None;
                self.give_up_end(id);
            }
            Some(segment) if is_over && any_can && segment.chances > 0 => {
                segment.chances -= 1;
                segment.unfit.clear();
                self.stalled = None;
            }
            _ if is_over => {
                self.segments.clear();
                self.forget_unknown();
            }
            _ => {}
        }
    }

    /// Forgets the views of peers whose headers did not come to the trunk, so that they are asked again.
    pub(super) fn forget_unknown(&mut self) {
        let tree = &self.tree;
        for state in self.peers.values_mut() {
            if let View::Has(spot) | View::Tip(spot) = state.view
                && tree.hash_at(spot).is_none()
            {
                state.view = View::Unknown;
            }
        }
    }

    /// Asks for the next headers of a segment if it waits for any. Returns the number of questions in flight.
    pub(super) fn ask_for_segment(&mut self, id: u32, index: usize, now: Instant) -> usize {
        let Some(segment) = self.segments.get(index) else { return 0 };
        if segment.is_at_end() || segment.is_completing {
            return 0;
        }
        let (asked, late) = self.askers(segment, now);
        let only = segment.only_source();
        if only.is_some_and(|only| self.gives_up(only, segment, now)) {
            self.restart(id);
            return 0;
        }
        // If all that are asked are late, another one is asked as well, then two more, then four more.
        let more = match (asked, late) {
            (0, _) => 1,
            (asked, late) if asked == late => asked,
            _ => return asked,
        };
        let fit = self
            .peers
            .iter()
            .filter(|(peer, state)| self.is_fit(**peer, state, segment, now) && only.is_none_or(|only| only == **peer));
        let fit: Vec<_> = fit.map(|(&peer, state)| (self.is_slow(state), state.questions.len(), peer, state)).collect();
        // A slow peer is better than none, but others have room in a moment.
        let all_slow = fit.iter().all(|(is_slow, ..)| *is_slow);
        let mut idle: Vec<_> = fit
            .into_iter()
            .filter(|(is_slow, questions, _, state)| {
                *questions < state.depth(segment, asked > 0)
                    && !state.questions.iter().any(|question| question.is_about(segment))
                    && (all_slow || !is_slow)
            })
            .map(|(is_slow, questions, peer, state)| (is_slow, questions, state.facts.round_trip, peer))
            .collect();
        idle.sort_unstable();
        idle.truncate(more);
        let count = idle.len();
        for (.., peer) in idle {
            self.ask_segment(peer, id, now);
        }
        asked + count
    }

    /// Returns `true` if a peer may be asked for a segment's next headers, though not now if it has many questions.
    fn is_fit(&self, peer: PeerId, state: &Peer, segment: &Segment, now: Instant) -> bool {
        let wants = segment.end.map_or(segment.head.0.saturating_add(1), |end| end.block.0);
        !segment.unfit.contains(&peer)
            && (segment.end.is_some() || !matches!(state.view, View::Tip(_)))
            && self.cap(state, now) >= wants
            && !self.is_late(state, now)
    }

    /// Returns `true` if the only peer that may bring the rest of a segment does not. Above the newest block that is known
    /// ahead the segment may end where that peer has no more.
    fn gives_up(&self, only: PeerId, segment: &Segment, now: Instant) -> bool {
        self.peers.get(&only).is_none_or(|state| match segment.end {
            Some(_) => !self.is_fit(only, state, segment, now),
            None => self.is_late(state, now),
        })
    }

    /// The number of peers that are asked for a segment's next headers, and the number of those that are late.
    pub(super) fn askers(&self, segment: &Segment, now: Instant) -> (usize, usize) {
        let questions =
            self.peers.values().flat_map(|state| state.questions.iter().map(move |question| (state, question)));
        let about = questions.filter(|(_, question)| question.is_about(segment));
        about.fold((0, 0), |(all, late), (state, _)| (all + 1, late + usize::from(self.is_late(state, now))))
    }

    /// Returns `true` if no peer can bring the open segment further: each peer that is asked is late, and no other peer
    /// can be asked.
    pub(super) fn is_exhausted(&self, now: Instant) -> bool {
        let Some(segment) = self.segments.front() else { return true };
        let (asked, late) = self.askers(segment, now);
        let only = segment.only_source();
        let can = |(peer, state): (&PeerId, &Peer)| {
            self.is_fit(*peer, state, segment, now) && only.is_none_or(|only| only == *peer)
        };
        let is_heard = self.first_tip.is_some() || self.peers.values().any(|peer| peer.facts.height <= segment.head.0);
        asked == late && is_heard && !self.peers.iter().any(can)
    }

    pub(super) fn ask_segment(&mut self, peer: PeerId, id: u32, now: Instant) {
        let Some(segment) = self.segments.iter().find(|segment| segment.id == id) else { return };
        let subject = Subject::Segment { id, generation: segment.generation, head: segment.head };
        let mut locator = vec![(Spot::trunk(segment.head.0), segment.head.1)];
        match segment.end {
            Some(_) => {
                locator
                    .extend((segment.head != segment.start).then_some((Spot::trunk(segment.start.0), segment.start.1)));
                // A peer that does not know the waypoint answers from here on.
                let trunk = (self.tree.trunk.start(), self.tree.trunk.hash_at(self.tree.trunk.start()));
                if let (true, (height, Some(hash))) = (segment.is_from_waypoint, trunk) {
                    locator.push((Spot::trunk(height), hash));
                }
            }
            None => locator.extend(
                self.tree.locator(self.tree.trunk_tip()).into_iter().filter(|(_, hash)| *hash != segment.head.1),
            ),
        }
        let stop = segment.end.map_or(BlockHash::ZERO, |end| end.block.1);
        self.ask(peer, subject, None, locator, stop, now);
    }

    pub(super) fn ask(
        &mut self,
        peer: PeerId,
        subject: Subject,
        head: Option<Spot>,
        locator: Vec<(Spot, BlockHash)>,
        stop: BlockHash,
        now: Instant,
    ) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let is_compressed = state.facts.is_compressing;
        let hashes = locator.iter().map(|(_, hash)| *hash).collect();
        state.questions.push_back(Question { subject, head, locator, is_compressed, since: now, alive: None });
        self.actions.push_back(Action::Ask(Ask { peer, locator: hashes, stop, is_compressed }));
    }

    pub(super) fn segment_answer(
        &mut self,
        peer: PeerId,
        question: &Question,
        (id, generation, head): (u32, u32, (u32, BlockHash)),
        raw: Raw,
        now: Instant,
    ) {
        let cap = self.peers.get(&peer).map_or(0, |state| self.cap(state, now));
        let announced = self.peers.get(&peer).map_or(0, |state| state.facts.height);
        let Some(segment) =
            self.segments.iter_mut().find(|segment| segment.id == id && segment.generation == generation)
        else {
            return;
        };
        let is_open = segment.end.is_none();
        let Some(prev) = raw.prev_block_hash() else {
            // The peer has nothing after the head, or after another block of the locator.
            segment.unfit.insert(peer);
            if is_open {
                self.empty_answer(peer, question, Some(Spot::trunk(head.0)), now);
            }
            return;
        };
        if prev != segment.head.1 {
            // Headers that another peer was quicker to send.
            if prev == head.1 {
                return;
            }
            if segment.is_from_waypoint
                && prev != segment.start.1
                && question.locator.iter().any(|(_, hash)| *hash == prev)
            {
                return self.is_strange(peer, id);
            }
            if is_open {
                segment.unfit.insert(peer);
                self.tip_answer(peer, question, raw);
            } else if prev == segment.start.1 {
                // The peer does not know the headers that others sent. One of them is wrong; which one is not known.
                if segment.objectors.insert(peer) {
                    segment.restart();
                    self.forget_false_start(id);
                }
            } else if !question.locator.iter().any(|(_, hash)| *hash == prev) {
                self.drop_peer(peer, DropReason::False(HeaderError::Unconnected(prev)));
            }
            return;
        }
        let limit = segment.end.map_or(cap, |end| end.block.0).saturating_sub(segment.head.0) as usize;
        if limit == 0 {
            // Another peer has brought it further than this one may.
            return self.set_view(peer, View::Has(Spot::trunk(head.0)), now);
        }
        let is_full = raw.is_full();
        self.useful_waypoints += usize::from(segment.is_from_waypoint && segment.sources.is_empty());
        segment.sources.insert(peer);
        match raw {
            Raw::Plain(mut headers) => {
                headers.truncate(limit);
                let Some(last) = headers.last() else { return };
                let place = segment.place();
                let height = segment.head.0.saturating_add(u32::try_from(headers.len()).unwrap_or(u32::MAX));
                let reached = (height, self.rules.hash(last));
                if segment.is_wrong_end(reached) {
                    return self.wrong_end(peer, id, reached);
                }
                let message = segment.arrive(headers.iter().map(Pace::from), reached);
                let purpose = Purpose::Segment { id, generation, message: Some(message) };
                self.actions.push_back(Action::Check(Check { peer, purpose, place, raw: Raw::Plain(headers) }));
                self.go_on(peer, id, is_full, announced, now);
            }
            Raw::Compressed(headers) => {
                segment.is_completing = true;
                let purpose = Purpose::Segment { id, generation, message: None };
                let place = segment.place();
                self.actions.push_back(Action::Check(Check { peer, purpose, place, raw: Raw::Compressed(headers) }));
            }
        }
    }

    /// Asks the same peer for what follows, before the last answer is checked.
    pub(super) fn go_on(&mut self, peer: PeerId, id: u32, is_full: bool, announced: u32, now: Instant) {
        let cap = self.peers.get(&peer).map_or(0, |state| self.cap(state, now));
        let Some(segment) = self.segments.iter().find(|segment| segment.id == id) else { return };
        if segment.is_at_end() {
            return;
        }
        let head = segment.head.0;
        if segment.end.is_none() && ((!is_full && head >= announced) || head >= cap) {
            return self.open_head(peer, (head, is_full), (announced, cap), now);
        }
        self.ask_segment(peer, id, now);
    }

    pub(super) fn segment_checked(
        &mut self,
        peer: PeerId,
        (id, generation, message): (u32, u32, Option<u64>),
        mut headers: Vec<CheckedHeader>,
        now: Instant,
    ) {
        let (announced, cap) = self.peers.get(&peer).map_or((0, 0), |state| (state.facts.height, self.cap(state, now)));
        let Some(segment) =
            self.segments.iter_mut().find(|segment| segment.id == id && segment.generation == generation)
        else {
            return;
        };
        if let Some(message) = message {
            return segment.check_in(message, &headers);
        }
        segment.is_completing = false;
        let is_full = headers.len() >= MAX_HEADERS2;
        let limit = segment.end.map_or(cap, |end| end.block.0);
        headers.truncate(limit.saturating_sub(segment.head.0) as usize);
        let Some(last) = headers.last() else { return };
        let height = segment.head.0.saturating_add(u32::try_from(headers.len()).unwrap_or(u32::MAX));
        let reached = (height, last.hash);
        if segment.is_wrong_end(reached) {
            return self.wrong_end(peer, id, reached);
        }
        let message = segment.arrive(headers.iter().map(|header| Pace::from(&header.header)), reached);
        segment.check_in(message, &headers);
        if segment.end.is_none() {
            self.open_head(peer, (height, is_full), (announced, cap), now);
        }
    }

    /// Takes note of how far a peer has brought the open segment.
    pub(super) fn open_head(
        &mut self,
        peer: PeerId,
        (head, is_full): (u32, bool),
        (announced, cap): (u32, u32),
        now: Instant,
    ) {
        // The trunk has this block when the checks are done.
        let spot = Spot::trunk(head);
        if !is_full && head >= announced {
            self.set_tip(peer, spot, now);
        } else if head >= cap {
            self.set_view(peer, View::Has(spot), now);
        }
    }

    /// Handles a segment whose headers end at another block than the one that was known ahead.
    pub(super) fn wrong_end(&mut self, peer: PeerId, id: u32, (height, hash): (u32, BlockHash)) {
        let peers = self.peers.len();
        let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == id) else { return };
        let is_alone = segment.sources.iter().all(|source| *source == peer);
        let is_waypoint = segment.end.is_some_and(|end| end.is_waypoint);
        if is_alone && is_waypoint {
            segment.rivals.insert(peer, hash);
            let agreeing = segment.rivals.values().filter(|rival| **rival == hash).count();
            if agreeing >= ENOUGH_AGAINST.min(peers) {
                return self.give_up_end(id);
            }
            segment.unfit.insert(peer);
        }
        self.restart(id);
        if is_alone && !is_waypoint {
            self.drop_peer(peer, DropReason::False(HeaderError::NotCheckpoint { height, hash }));
        }
    }

    /// Handles a segment whose first headers do not follow from those below its waypoint.
    fn wrong_seam(&mut self, id: u32, error: HeaderError) {
        let Some(segment) = self.segments.iter().find(|segment| segment.id == id) else { return };
        let sources: Vec<_> = segment.sources.iter().copied().collect();
        self.restart(id);
        if let [only] = *sources {
            self.drop_peer(only, DropReason::False(error));
        }
    }

    /// Handles a peer that does not know the waypoint at which a segment starts. Two of them are enough to give it up.
    fn is_strange(&mut self, peer: PeerId, id: u32) {
        let peers = self.peers.len();
        let Some(index) = self.segments.iter().position(|segment| segment.id == id) else { return };
        let Some(segment) = self.segments.get_mut(index) else { return };
        segment.unfit.insert(peer);
        segment.strangers.insert(peer);
        if segment.strangers.len() >= ENOUGH_AGAINST.min(peers)
            && let Some(below) = index.checked_sub(1).and_then(|below| self.segments.get(below))
        {
            let below = below.id;
            self.give_up_end(below);
        }
    }

    /// Gives up the waypoint at which a segment ends: the segment goes on to the end of the next one. When more
    /// waypoints were given up than have been of use, none of the others is worth a question.
    fn give_up_end(&mut self, id: u32) {
        self.wrong_waypoints += 1;
        let Some(index) = self.segments.iter().position(|segment| segment.id == id) else { return };
        self.merge_next(index);
        if self.wrong_waypoints > self.useful_waypoints + WRONG_WAYPOINTS {
            let mut index = 0;
            while let Some(segment) = self.segments.get(index) {
                match segment.end.is_some_and(|end| end.is_waypoint) {
                    true => self.merge_next(index),
                    false => index += 1,
                }
            }
        }
    }

    fn merge_next(&mut self, index: usize) {
        let Some(next) = self.segments.remove(index + 1) else { return };
        let Some(segment) = self.segments.get_mut(index) else { return };
        segment.go_on_to(next.end);
        // Tips above a block that is not on the chain say nothing.
        if next.end.is_none() {
            self.forget_unknown();
        }
    }

    /// Fetches a segment again, from one peer alone.
    pub(super) fn restart(&mut self, id: u32) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == id) {
            segment.restart();
            self.forget_false_start(id);
        }
    }

    pub(super) fn segment_failed(&mut self, id: u32, generation: u32) {
        let tip = (self.tree.trunk.tip(), self.tree.trunk.tip_hash());
        let window = self.tree.trunk.place_after(tip.0).window;
        let is_front = self.segments.front().is_some_and(|segment| segment.id == id);
        let Some(segment) =
            self.segments.iter_mut().find(|segment| segment.id == id && segment.generation == generation)
        else {
            return;
        };
        match is_front {
            true => segment.go_back(tip, window),
            false => segment.go_back(segment.start, Window::default()),
        }
        self.forget_unknown();
    }

    /// Removes the headers that a wrong segment has put on the trunk, and forgets the views of peers that brought it.
    pub(super) fn forget_false_start(&mut self, id: u32) {
        if let Some(segment) = self.segments.front().filter(|segment| segment.id == id)
            && self.tree.trunk.tip() > segment.start.0
        {
            self.take_back(segment.start.0);
        }
        self.forget_unknown();
    }
}
