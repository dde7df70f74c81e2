//! The blocks and locks that peers announce, and the locks that they send.

use std::collections::BTreeMap;

use qrinfo_core::{
    BlockHash, PeerId,
    message::{Inventory, InventoryKind},
    wire::frame::Command,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Task, now};
use crate::{
    book::locks::{LockEvent, Taken},
    follow::FollowEvent,
    nodes::on_one_line,
};

// === impl Task: announcements ===

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Task<Io> {
    pub(super) fn on_inventory(&mut self, peer: PeerId, announced: &Inventory) {
        let blocks = announced.0.iter().filter(|item| item.kind == InventoryKind::BLOCK);
        if let Some(block) = blocks.last() {
            let hash = BlockHash::from_bytes(*block.hash.as_bytes());
            match self.tracker.announced(peer, &hash) {
                true => self.roster.heard(peer, false, now()),
                false => self.roster.ask_about(peer, hash, now()),
            }
        }
        let wanted = self.wanted.announced(peer, &self.locks.wanted(announced), now());
        if !wanted.0.is_empty() {
            self.send(peer, Command::GET_DATA, &wanted);
        }
    }

    pub(super) fn ask_for_locks(&self, questions: BTreeMap<PeerId, Inventory>) {
        questions.iter().for_each(|(peer, locks)| self.send(*peer, Command::GET_DATA, locks));
    }

    pub(super) fn on_lock(&mut self, taken: Taken) {
        if let Taken::Event(event) = taken {
            self.on_lock_event(event);
        }
    }

    pub(super) fn on_lock_event(&mut self, event: LockEvent) {
        match event {
            LockEvent::False { peer, error } => self.ban(peer, &on_one_line(&error)),
            LockEvent::ChainLocked { height, hash } => self.tell(FollowEvent::ChainLocked { height, hash }),
            LockEvent::InstantLocked { txid, inputs } => self.tell(FollowEvent::InstantLocked { txid, inputs }),
        }
    }
}
