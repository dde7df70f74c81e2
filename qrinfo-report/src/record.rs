//! The events of a sync, as far as the page shows them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use qrinfo_core::{AttemptErrorKind, PeerEvent, PeerId, RecoveryEvent, RequestId, SendId};

/// Sendings that are kept, so that a page stays within a few megabytes.
const MAX_SENDINGS: usize = 20_000;

/// The time between two points of a curve.
const STEP: Duration = Duration::from_millis(50);

/// Points of a curve. Later ones replace the last.
const MAX_POINTS: usize = 4_000;

/// Stalls of a peer, and notes of a sync. Later ones are not shown.
const MAX_NOTES: usize = 200;

/// The bounds of a page, and what lies beyond them.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    sendings: usize,
    /// Events or sendings that are not on the page.
    pub(crate) missed: u64,
}

/// One sync.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) title: String,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    pub(crate) sendings: BTreeMap<SendId, Sending>,
    pub(crate) notes: Vec<(Instant, String)>,
    /// Bytes that had arrived, and resident memory of the process in KiB, over time.
    pub(crate) curve: Vec<Point>,
    partial: BTreeMap<SendId, u64>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) at: Instant,
    pub(crate) bytes: u64,
    pub(crate) memory_kib: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) round_trip: Duration,
    pub(crate) stalls: Vec<Instant>,
    /// The end of its part in the sync.
    pub(crate) gone: Option<(Instant, Gone)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Gone {
    Left(String),
    Banned(AttemptErrorKind),
}

/// One request at one peer.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) request: RequestId,
    pub(crate) is_copy: bool,
    pub(crate) sent: Instant,
    /// The peer had dealt with everything before it.
    pub(crate) head: Option<Instant>,
    pub(crate) first_byte: Option<Instant>,
    pub(crate) timed_out: Option<Instant>,
    pub(crate) bytes: u64,
    pub(crate) end: Option<(Instant, Result<(), AttemptErrorKind>)>,
    /// The reply was found to be false or malformed, by the connection or by a later check.
    pub(crate) fault: Option<(Instant, AttemptErrorKind)>,
}

// === impl Run ===

impl Run {
    pub(crate) fn new(title: &str, now: Instant) -> Self {
        Self {
            title: title.to_owned(),
            start: now,
            end: now,
            peers: BTreeMap::new(),
            sendings: BTreeMap::new(),
            notes: Vec::new(),
            curve: Vec::new(),
            partial: BTreeMap::new(),
            bytes: 0,
        }
    }

    pub(crate) fn at_peer(&mut self, event: &PeerEvent, now: Instant, limits: &mut Limits) {
        self.end = now;
        if !self.shows(event, now, limits) {
            limits.missed += 1;
        }
        self.sample(now);
    }

    /// Takes an event at a peer. Returns false if it is not shown.
    fn shows(&mut self, event: &PeerEvent, now: Instant, limits: &mut Limits) -> bool {
        match event {
            PeerEvent::Joined { peer, round_trip, .. } => {
                self.peers.entry(*peer).or_default().round_trip = *round_trip;
            }
            PeerEvent::Sent { send, request, is_copy, at } => {
                if limits.sendings >= MAX_SENDINGS {
                    return false;
                }
                limits.sendings += 1;
                let sending = Sending {
                    request: *request,
                    is_copy: *is_copy,
                    sent: *at,
                    head: None,
                    first_byte: None,
                    timed_out: None,
                    bytes: 0,
                    end: None,
                    fault: None,
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
            PeerEvent::Stalled { peer, at } => {
                return add(&mut self.peers.entry(*peer).or_default().stalls, *at);
            }
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
                if let Ok(timing) = outcome {
                    sending.head = timing.head;
                    sending.first_byte = sending.first_byte.or(timing.first_byte);
                    sending.bytes = timing.bytes;
                }
                if let Err(kind) = outcome {
                    sending.blame(*kind, *at);
                }
                sending.end = Some((*at, outcome.as_ref().map(|_| ()).map_err(|kind| *kind)));
            }
            PeerEvent::Left { peer, why } => self.gone(*peer, now, Gone::Left(why.to_string())),
            PeerEvent::Banned { peer, why } => self.gone(*peer, now, Gone::Banned(*why)),
            _ => return false,
        }
        true
    }

    /// A ban outlasts the end of the connection that follows it.
    fn gone(&mut self, peer: PeerId, now: Instant, why: Gone) {
        let gone = &mut self.peers.entry(peer).or_default().gone;
        if !matches!(gone, Some((_, Gone::Banned(_)))) {
            *gone = Some((now, why));
        }
    }

    pub(crate) fn decided(&mut self, event: &RecoveryEvent, now: Instant, limits: &mut Limits) {
        self.end = now;
        let note = match event {
            RecoveryEvent::Decided { request, peer: Some(peer), error, .. } => {
                let sending =
                    |(send, sending): &(&SendId, &mut Sending)| send.peer == *peer && sending.request == *request;
                if let Some((_, sending)) = self.sendings.iter_mut().rev().find(sending) {
                    sending.blame(*error, now);
                }
                return;
            }
            RecoveryEvent::SlowedDown { strategy, failures, attempts } => {
                format!("{failures} of the latest {attempts} attempts failed: {strategy}")
            }
            RecoveryEvent::GaveUp { request, why } => format!("request {request} was given up: {why}"),
            _ => return,
        };
        if !add(&mut self.notes, (now, note)) {
            limits.missed += 1;
        }
    }

    /// The sendings to a peer, in the order of their times.
    pub(crate) fn sendings_of(&self, peer: PeerId) -> impl Iterator<Item = &Sending> {
        let mut sendings: Vec<_> =
            self.sendings.iter().filter(|(send, _)| send.peer == peer).map(|(_, sending)| sending).collect();
        sendings.sort_by_key(|sending| sending.sent);
        sendings.into_iter()
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

// === impl Sending ===

impl Sending {
    /// Notes that its reply is false or malformed, if that is what `kind` says.
    fn blame(&mut self, kind: AttemptErrorKind, at: Instant) {
        if matches!(kind, AttemptErrorKind::False | AttemptErrorKind::Malformed) {
            let arrived = self.end.map_or(at, |(end, _)| end.min(at));
            self.fault.get_or_insert((arrived, kind));
        }
    }

    /// True if the connection ended before the reply.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.fault.is_none() && matches!(self.end, Some((_, Err(AttemptErrorKind::Disconnected))))
    }

    /// The last that is known of it.
    pub(crate) fn last(&self, run_end: Instant) -> Instant {
        self.end.map_or(run_end, |(at, _)| at).max(self.sent)
    }
}

/// Adds an item unless there are too many. Returns false then.
fn add<T>(items: &mut Vec<T>, item: T) -> bool {
    let has_room = items.len() < MAX_NOTES;
    if has_room {
        items.push(item);
    }
    has_room
}

/// Resident memory of this process, where the system tells it.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
