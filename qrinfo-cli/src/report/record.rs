//! The events of a command's syncs, as far as the report shows them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use qrinfo::SyncEvent;
use qrinfo_core::{AttemptErrorKind, PeerEvent, PeerId, RecoveryEvent, RequestId, SendId};

/// Sendings that are kept, so that a page stays within a few megabytes.
const MAX_SENDINGS: usize = 20_000;

/// The time between two points of a curve.
const STEP: Duration = Duration::from_millis(50);

/// Points of a curve. Later ones replace the last.
const MAX_POINTS: usize = 4_000;

#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) runs: Vec<Run>,
    pub(super) facts: Vec<(String, String)>,
    /// Events or sendings that are not on the page.
    pub(super) missed: u64,
}

/// One sync.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) title: String,
    pub(super) start: Instant,
    pub(super) end: Instant,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) sendings: BTreeMap<SendId, Sending>,
    pub(super) notes: Vec<(Instant, String)>,
    /// Bytes that had arrived, and resident memory of the process in KiB, over time.
    pub(super) curve: Vec<Point>,
    partial: BTreeMap<SendId, u64>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) at: Instant,
    pub(super) bytes: u64,
    pub(super) memory_kib: u64,
}

#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) joined: Option<Instant>,
    pub(super) round_trip: Duration,
    pub(super) stalls: Vec<Instant>,
    /// The end of its part in the sync.
    pub(super) gone: Option<(Instant, Gone)>,
}

#[derive(Debug, Clone)]
pub(super) enum Gone {
    Left(String),
    Banned(AttemptErrorKind),
}

/// One request at one peer.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) request: RequestId,
    pub(super) is_copy: bool,
    pub(super) sent: Instant,
    /// The peer had dealt with everything before it.
    pub(super) head: Option<Instant>,
    pub(super) first_byte: Option<Instant>,
    pub(super) timed_out: Option<Instant>,
    pub(super) bytes: u64,
    pub(super) end: Option<(Instant, Ending)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Reply,
    Failed(AttemptErrorKind),
}

// === impl Record ===

impl Record {
    /// Begins a sync, and returns the number by which its events name it.
    pub(super) fn begin(&mut self, title: &str, now: Instant) -> usize {
        self.runs.push(Run {
            title: title.to_owned(),
            start: now,
            end: now,
            peers: BTreeMap::new(),
            sendings: BTreeMap::new(),
            notes: Vec::new(),
            curve: Vec::new(),
            partial: BTreeMap::new(),
            bytes: 0,
        });
        self.runs.len() - 1
    }

    pub(super) fn event(&mut self, run: usize, event: &SyncEvent, now: Instant) {
        let Some(run) = self.runs.get_mut(run) else { return };
        run.end = now;
        match event {
            SyncEvent::Peer(event) => {
                if !run.at_peer(event, now) {
                    self.missed += 1;
                }
            }
            SyncEvent::Recovery(event) => run.decided(event, now),
            _ => self.missed += 1,
        }
    }

    pub(super) fn missed(&mut self, count: u64) {
        self.missed += count;
    }

    pub(super) fn fact(&mut self, name: &str, value: String) {
        self.facts.push((name.to_owned(), value));
    }
}

// === impl Run ===

impl Run {
    /// Takes an event at a peer. Returns false if it is not shown.
    fn at_peer(&mut self, event: &PeerEvent, now: Instant) -> bool {
        match event {
            PeerEvent::Joined { peer, round_trip, .. } => {
                let peer = self.peers.entry(*peer).or_default();
                peer.joined.get_or_insert(now);
                peer.round_trip = *round_trip;
            }
            PeerEvent::Sent { send, request, is_copy, at } => {
                if self.sendings.len() >= MAX_SENDINGS {
                    return false;
                }
                let sending = Sending {
                    request: *request,
                    is_copy: *is_copy,
                    sent: *at,
                    head: None,
                    first_byte: None,
                    timed_out: None,
                    bytes: 0,
                    end: None,
                };
                self.peers.entry(send.peer).or_default();
                self.sendings.insert(*send, sending);
            }
            PeerEvent::Progress { send, received, at, .. } => {
                let before = self.partial.insert(*send, *received).unwrap_or_default();
                self.bytes += received.saturating_sub(before);
                if let Some(sending) = self.sendings.get_mut(send) {
                    sending.first_byte.get_or_insert(*at);
                    sending.bytes = *received;
                }
            }
            PeerEvent::Stalled { peer, at } => self.peers.entry(*peer).or_default().stalls.push(*at),
            PeerEvent::TimedOut { send, at } => {
                if let Some(sending) = self.sendings.get_mut(send) {
                    sending.timed_out = Some(*at);
                }
            }
            PeerEvent::Ended { send, outcome, at } => {
                let before = self.partial.remove(send).unwrap_or_default();
                if let Ok(timing) = outcome {
                    self.bytes += timing.bytes.saturating_sub(before);
                }
                let Some(sending) = self.sendings.get_mut(send) else { return false };
                let ending = match outcome {
                    Ok(timing) => {
                        sending.head = timing.head;
                        sending.first_byte = sending.first_byte.or(timing.first_byte);
                        sending.bytes = timing.bytes;
                        Ending::Reply
                    }
                    Err(kind) => Ending::Failed(*kind),
                };
                sending.end = Some((*at, ending));
            }
            PeerEvent::Left { peer, why } => self.gone(*peer, now, Gone::Left(why.to_string())),
            PeerEvent::Banned { peer, why } => self.gone(*peer, now, Gone::Banned(*why)),
            _ => return false,
        }
        self.sample(now);
        true
    }

    /// A ban outlasts the end of the connection that follows it.
    fn gone(&mut self, peer: PeerId, now: Instant, why: Gone) {
        let gone = &mut self.peers.entry(peer).or_default().gone;
        if !matches!(gone, Some((_, Gone::Banned(_)))) {
            *gone = Some((now, why));
        }
    }

    fn decided(&mut self, event: &RecoveryEvent, now: Instant) {
        let note = match event {
            RecoveryEvent::SlowedDown { strategy, failures, attempts } => {
                format!("{failures} of the latest {attempts} attempts failed: {strategy}")
            }
            RecoveryEvent::GaveUp { request, why } => format!("request {request} was given up: {why}"),
            _ => return,
        };
        self.notes.push((now, note));
    }

    fn sample(&mut self, now: Instant) {
        let is_due = self.curve.last().is_none_or(|last| now.saturating_duration_since(last.at) >= STEP);
        let point = Point { at: now, bytes: self.bytes, memory_kib: 0 };
        if is_due && self.curve.len() < MAX_POINTS {
            self.curve.push(Point { memory_kib: resident_kib().unwrap_or_default(), ..point });
        } else if let Some(last) = self.curve.last_mut() {
            *last = Point { memory_kib: last.memory_kib, at: last.at, ..point };
        }
    }
}

/// Resident memory of this process, where the system tells it.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
