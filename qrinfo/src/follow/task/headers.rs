//! The headers of peers, and the changes of the chain that follow from them.

use qrinfo_core::{
    BlockHash, BlockHeader, PeerId,
    message::{GetHeaders, Headers, MAX_HEADERS, PROTOCOL_VERSION},
    wire::frame::Command,
};
use spv_headers::{HeaderBatch, HeaderError, Heard, TipHeaders};
use spv_store::Store;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_blocking,
    time::Instant,
};

use super::{Task, joined, now};
use crate::{
    follow::{FollowError, FollowEvent, chain::entries, roster::LeftBehind, tap::Session},
    nodes::on_one_line,
};

/// Headers to check from which on another thread does it.
const MANY_CHECKS: usize = 64;

// === impl Task: headers ===

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Task<Io> {
    pub(super) fn on_headers(&mut self, peer: PeerId, headers: Headers) {
        if self.checking.contains(&peer) {
            // They may follow those that are being checked.
            return self.roster.ask(peer);
        }
        let is_answer = self.roster.is_asked(peer);
        match self.tracker.hear(headers.0) {
            Heard::Check(check) => {
                let session = (peer, self.links.get(&peer).map_or(0, |link| link.session));
                if check.len() < MANY_CHECKS {
                    return self.on_checked(session, check.run());
                }
                self.checking.insert(peer);
                self.checks.spawn_blocking(move || (session, check.run()));
            }
            Heard::Nothing => {
                self.tracker.forget(peer);
                let ((agreed, hash), lowest) = (self.tracker.agreed(), self.tracker.lowest());
                if agreed == lowest {
                    // A chain of one block.
                    self.tracker.announced(peer, &hash);
                    self.roster.heard(peer, false, now());
                } else {
                    self.roster.heard_nothing(peer, lowest, now());
                }
            }
            Heard::Elsewhere(headers) if is_answer => self.on_headers_below(peer, &headers),
            // They follow a block that it has not told of.
            Heard::Elsewhere(_) => self.roster.ask(peer),
        }
    }

    /// Finds the place of headers on the whole chain that do not follow a block of the tracker.
    fn on_headers_below(&mut self, peer: PeerId, headers: &[BlockHeader]) {
        match self.tracker.below(&self.chain.headers, headers) {
            Ok(Some(below)) => {
                self.tracker.forget(peer);
                let asks_on = below.next.is_none() && headers.len() >= MAX_HEADERS;
                self.roster.heard_below(peer, below, asks_on, now());
            }
            Ok(None) => self.leave(peer, &LeftBehind::Elsewhere.to_string()),
            Err(error) => self.ban(peer, &on_one_line(&error)),
        }
    }

    pub(super) fn on_checked(&mut self, (peer, session): Session, checked: Result<TipHeaders, HeaderError>) {
        if self.links.get(&peer).is_none_or(|link| link.session != session) {
            return;
        }
        self.checking.remove(&peer);
        match checked {
            Ok(headers) => {
                let asks_on = self.tracker.take(peer, &headers);
                self.roster.heard(peer, asks_on, now());
            }
            Err(error) => self.ban(peer, &on_one_line(&error)),
        }
    }

    pub(super) fn ask_for_headers(&self, peer: PeerId, announced: u32) {
        let lowest = self.tracker.lowest();
        let locator = match self.roster.below(peer) {
            Some(shared) => self.chain.locator(shared).collect(),
            None => self.tracker.locator(peer, announced).into_iter().chain(self.chain.locator(lowest)).collect(),
        };
        let version = PROTOCOL_VERSION.unsigned_abs();
        self.send(peer, Command::GET_HEADERS, &GetHeaders { version, locator, stop: BlockHash::ZERO });
    }

    /// Goes back below the blocks that the tracker knows, if most peers have. The chain stays until its blocks are replaced,
    /// or all peers have told that they do not have them.
    pub(super) async fn go_back(&mut self) -> Result<(), FollowError> {
        if let Some(height) = self.roster.fork(&self.tracker, now()) {
            let height = height.max(self.chain.headers.start());
            let Some(tracker) = self.chain.tracker_at(&self.config, height, self.store.as_ref())? else {
                return Ok(());
            };
            tracing::info!(height, tip = self.chain.headers.tip(), "goes back");
            self.tracker = tracker;
            self.links.keys().for_each(|peer| self.tracker.join(*peer));
            self.roster.went_back(now());
        }
        let (agreed, _) = self.tracker.agreed();
        if agreed < self.chain.headers.tip() && self.is_heard() && self.roster.is_settled(&self.tracker) {
            self.move_to(HeaderBatch { first: agreed + 1, headers: Vec::new() }).await?;
        }
        Ok(())
    }

    /// Moves the chain to the blocks that the peers agreed on.
    pub(super) async fn move_to(&mut self, batch: HeaderBatch) -> Result<(), FollowError> {
        let Some(batch) = self.chain.unknown(batch) else { return Ok(()) };
        let fork = batch.first.saturating_sub(1);
        let left = self.chain.headers.tip().saturating_sub(fork);
        if !self.chain.apply(&batch) {
            return Ok(());
        }
        store_headers(self.store.as_ref(), &batch).await?;
        self.chain.index();
        self.moved = Instant::now();
        self.decider.retry();
        if left > 0 {
            tracing::info!(fork, left, "reorganized");
            self.decider.reorganized(fork);
            self.outputs.book.forget_above(fork);
            self.take_lists();
            self.store_lists().await?;
            self.tell(FollowEvent::Reorganized { fork, left });
        }
        let (height, hash) = (self.chain.headers.tip(), self.chain.headers.tip_hash());
        self.outputs.book.set_tip(height);
        self.tell(FollowEvent::Tip { height, hash });
        Ok(())
    }
}

pub(super) async fn store_headers(store: Option<&Store>, batch: &HeaderBatch) -> Result<(), FollowError> {
    let Some(store) = store.cloned() else { return Ok(()) };
    let (first, headers) = (batch.first, entries(batch));
    joined(spawn_blocking(move || store.store_headers(first, &headers)).await)
}
