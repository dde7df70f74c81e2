use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use bytes::Bytes;
use qrinfo_core::{
    Attempt, BlockHash, MnListDiffRequestSpec, PeerEvent, PeerId, RequestId, SendId,
    message::{MnListDiff, NetworkMessage},
    wire::frame::{Command, Frame, Partial},
};
use qrinfo_correlate::{Action, Closed, Correlator, CorrelatorConfig, Event};

use crate::input::Input;

/// Ends of one sending.
#[derive(Default)]
struct Ends {
    is_cancelled: bool,
    answers: u32,
    releases: u32,
    reports: u32,
}

struct Peer {
    correlator: Correlator,
    sends: BTreeMap<SendId, Ends>,
    is_closed: bool,
    pings: Vec<u64>,
}

/// A sequence of events at one peer: every sending ends once, within its slots.
pub fn correlator(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let id = PeerId::Address(([127, 0, 0, 1], 19899).into());
    let depth = NonZeroUsize::new(1 + input.below(8)).unwrap_or(NonZeroUsize::MIN);
    let config = CorrelatorConfig { depth, fence: input.below(4) != 0, ..CorrelatorConfig::default() };
    let mut peer =
        Peer { correlator: Correlator::new(id, config), sends: BTreeMap::new(), is_closed: false, pings: Vec::new() };
    let mut now = start();
    for seq in 0..4_096 {
        if input.is_empty() {
            break;
        }
        let event = match input.below(10) {
            0 | 1 => {
                let send = SendId { peer: id, seq };
                let attempt = Attempt::new(RequestId(seq), request(input.below(4)).into());
                if peer.correlator.submit(send, attempt, now).is_ok() {
                    peer.sends.insert(send, Ends::default());
                }
                None
            }
            2 => {
                if let Some(frame) = peer.correlator.next_frame(now)
                    && let Ok(NetworkMessage::Ping(nonce)) = NetworkMessage::from_frame(frame)
                {
                    peer.pings.push(nonce);
                }
                None
            }
            3 | 4 => {
                let diff = MnListDiff::empty(BlockHash::ZERO, block(input.below(4)));
                Some(Event::Frame(NetworkMessage::MnListDiff(Box::new(diff)).to_frame()))
            }
            5 => {
                let nonce = peer.pings.get(input.below(8)).copied().unwrap_or(7);
                Some(Event::Frame(NetworkMessage::Pong(nonce).to_frame()))
            }
            6 => {
                let send = SendId { peer: id, seq: u64::from(input.byte()) };
                if let Some(ends) = peer.sends.get_mut(&send) {
                    ends.is_cancelled = true;
                }
                Some(Event::Cancelled(send))
            }
            7 => {
                now += Duration::from_millis(u64::from(input.short()));
                Some(Event::Tick)
            }
            8 => {
                let (received, length) = (usize::from(input.short()), usize::from(input.short()));
                let (received, length) = (received.min(length), length);
                Some(Event::Partial(Partial { command: Command::MN_LIST_DIFF, received, length }))
            }
            _ => {
                let length = input.below(64);
                let payload = Bytes::copy_from_slice(input.take(length));
                let command = [Command::MN_LIST_DIFF, Command::QR_INFO, Command::PONG][input.below(3)];
                Some(Event::Frame(Frame { command, payload }))
            }
        };
        if let Some(event) = event {
            peer.correlator.handle(event, now);
        }
        peer.carry_out();
        assert!(peer.correlator.len() <= depth.get(), "more requests than slots");
        if let Some((deadline, _)) = peer.correlator.next_deadline() {
            assert!(deadline >= now, "a deadline in the past after its tick");
        }
    }
    peer.correlator.handle(Event::Disconnected(Closed::ByPeer), now);
    peer.carry_out();
    assert!(peer.correlator.is_empty(), "a slot outlives its connection");
    for (send, ends) in &peer.sends {
        assert_eq!((ends.releases, ends.reports), (1, 1), "{send} did not end once");
        assert!(
            ends.answers == 1 || ends.is_cancelled && ends.answers == 0,
            "{send} was answered {} times",
            ends.answers
        );
    }
}

impl Peer {
    fn carry_out(&mut self) {
        while let Some(action) = self.correlator.next_action() {
            assert!(!self.is_closed, "an action after the end");
            match action {
                Action::Answer { send, .. } => self.ends(send).answers += 1,
                Action::Release { send } => self.ends(send).releases += 1,
                Action::Report(PeerEvent::Ended { send, .. }) => self.ends(send).reports += 1,
                Action::Report(_) => {}
                Action::Close(_) => self.is_closed = true,
            }
        }
    }

    fn ends(&mut self, send: SendId) -> &mut Ends {
        self.sends.entry(send).or_default()
    }
}

fn request(number: usize) -> MnListDiffRequestSpec {
    MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: block(number) }
}

fn block(number: usize) -> BlockHash {
    BlockHash::from_bytes([number as u8 + 1; 32])
}

/// Some instant: only differences count.
#[allow(clippy::disallowed_methods, reason = "an instant to count from; no clock is read again")]
pub(crate) fn start() -> Instant {
    Instant::now()
}
