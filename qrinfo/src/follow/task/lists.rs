//! The lists of blocks: what is asked for, what was proven, and what is stored.

use std::{collections::BTreeSet, time::Instant};

use futures_util::FutureExt;
use qrinfo_core::{AttemptErrorKind, Request};
use qrinfo_verify::{ListSnapshot, Lists};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_blocking,
};

use super::{Task, joined, now};
use crate::follow::{
    FollowError, FollowEvent,
    ask::{Asked, ask},
    decide::{Facts, Step, is_complete},
};

// === impl Task: lists ===

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Task<Io> {
    /// Makes the next request, if one is due. Returns the instant before which none is.
    pub(super) fn ask_next(&mut self) -> Option<Instant> {
        if self.request.is_some() || !self.is_heard() {
            return None;
        }
        match self.next_step() {
            Step::Ask(request, asked_by) => {
                let peers: Vec<_> = self.roster.with_block(asked_by, &self.tracker);
                let peers: Vec<_> = peers.into_iter().filter_map(|peer| self.peer(peer)).collect();
                // Without such a peer, the next one that tells its tip is asked.
                if !peers.is_empty() {
                    self.decider.asked();
                    self.request = Some(ask(*request, asked_by, peers, self.verifier.clone()).boxed());
                }
                None
            }
            Step::Wait(until) => Some(until),
            Step::Rest => None,
        }
    }

    fn next_step(&self) -> Step {
        let lists = self.list_heights();
        let peers: Vec<_> = self.links.keys().filter_map(|peer| Some(self.tracker.standing(*peer)?.shared)).collect();
        let hash_at = |height| self.chain.headers.hash_at(height);
        let facts = Facts {
            tip: self.chain.headers.tip(),
            lists: &lists,
            is_complete: self.is_complete(),
            hash_at: &hash_at,
            peers: &peers,
        };
        self.decider.next(&facts, now())
    }

    pub(super) async fn on_asked(&mut self, asked: Asked) -> Result<(), FollowError> {
        let Asked { request, asked_by, reply, lost, failed } = asked;
        for (peer, refusals) in failed {
            self.roster.failed(peer, refusals, now());
        }
        for lost in lost {
            let why = lost.why.to_string();
            match lost.why {
                AttemptErrorKind::Malformed | AttemptErrorKind::False => self.ban(lost.peer, &why),
                _ => self.leave(lost.peer, &why),
            }
        }
        let Some((delivered, verified)) = reply else {
            let (lists, facts) = (self.list_heights(), self.is_complete());
            let hash_at = |height| self.chain.headers.hash_at(height);
            let facts = Facts {
                tip: self.chain.headers.tip(),
                lists: &lists,
                is_complete: facts,
                hash_at: &hash_at,
                peers: &[],
            };
            self.decider.failed(&request, &facts, now());
            return Ok(());
        };
        self.ledger.useful(delivered.timing.peer);
        tracing::debug!(%request, bytes = delivered.timing.bytes, peer = %delivered.timing.peer, "proven");
        self.archive.learn(&delivered.reply);
        let before: BTreeSet<_> = self.lists.values().map(Lists::block_hash).collect();
        self.take_lists();
        self.decider.proven(&request, asked_by, self.has_all(&request, verified.tip.as_ref()));
        let proven: Vec<_> =
            self.lists.values().filter(|lists| !before.contains(&lists.block_hash())).cloned().collect();
        proven.into_iter().for_each(|lists| self.tell(FollowEvent::Proven(lists)));
        self.store_lists().await
    }

    /// Takes over the lists of blocks of the chain that are kept.
    pub(super) fn take_lists(&mut self) {
        let chain = &self.chain.headers;
        let is_ours = |lists: &&Lists| lists.height() > 0 && chain.hash_at(lists.height()) == Some(lists.block_hash());
        self.lists =
            self.verifier.stage().kept().filter(is_ours).map(|lists| (lists.height(), lists.clone())).collect();
        self.chain.pin(self.lists.values().map(Lists::block_hash));
        let chain = &self.chain.headers;
        let (blocks, book) = (&self.chain.blocks, &mut self.outputs.book);
        for lists in self.lists.values() {
            book.advance(lists, |hash| blocks.find(hash), |height| chain.hash_at(height));
        }
        for event in self.locks.advance(&self.outputs.handle) {
            self.on_lock_event(event);
        }
    }

    /// Starts from the lists of the settings, if there are none and the chain has their block.
    pub(super) fn take_shipped_lists(&mut self) {
        let tip = self.chain.headers.tip();
        let is_needed = self.lists.is_empty() && tip > self.config.start.0;
        let Some(bytes) = self.config.lists.take_if(|_| is_needed) else { return };
        let height = ListSnapshot::decode(bytes.clone()).ok().and_then(|lists| lists.claimed_height());
        let blocks = self.chain.blocks.clone();
        let steps = vec![(height.unwrap_or(0), bytes)];
        let restored = self.archive.restore(self.config.network, steps, |hash| blocks.find(hash));
        match restored.is_empty() {
            true => tracing::warn!("the lists to start from are not proven by the chain; they are not used"),
            false => self.decider.start_at(tip),
        }
        restored.into_iter().for_each(|lists| self.verifier.stage().pin(lists));
        self.take_lists();
    }

    pub(super) async fn store_lists(&mut self) -> Result<(), FollowError> {
        let change = self.archive.change(self.config.network, &self.lists);
        if let (Some(store), Some(change)) = (self.store.clone(), change) {
            joined(spawn_blocking(move || change.store(&store)).await)?;
        }
        Ok(())
    }

    fn list_heights(&self) -> BTreeSet<u32> {
        self.lists.keys().copied().collect()
    }

    /// Returns `true` if the newest lists have every quorum of their cycle.
    fn is_complete(&self) -> bool {
        self.lists.values().next_back().is_some_and(|lists| self.are_complete(lists))
    }

    /// Returns `true` if the lists at the tip of a reply have every quorum of the cycle that it was asked for. Those of a
    /// peer that is ahead are not known; then the newest ones tell.
    fn has_all(&self, request: &Request, tip: Option<&Lists>) -> bool {
        let Request::QrInfo(spec) = request else { return false };
        let is_of_cycle = |lists: &&Lists| self.config.network.cycles().start_of(lists.height()) == spec.cycle;
        let newest = tip.or(self.lists.values().next_back()).filter(is_of_cycle);
        newest.is_some_and(|lists| self.are_complete(lists))
    }

    fn are_complete(&self, lists: &Lists) -> bool {
        is_complete(self.config.network, lists, |height| self.chain.headers.hash_at(height))
    }
}
