//! One HTML page that shows every request of a sync, for anyone who asks why it was slow.
//!
//! ```text
//!              0.00 s                0.20 s                0.40 s
//!  peer A      ░░▒▒▒███ ░░░▒▒███ ▒▒▒███                               12 replies
//!  peer B      ▒▒██ ××××× ▒▒██                                        4 refusals
//!  peer C      ▒▒██ ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│stall▒▒▒▒▒▒▒▒▒▒▒▒▒              1 stall
//!  peer D      ▒▒██ !!!!!│ban                                         1 false reply, 1 ban
//! ```
//!
//! * [`Report`] takes the events of a sync ([`PeerEvent`],
//!   [`RecoveryEvent`]) with the time of each, and facts about the outcome.
//! * [`Report::page`] is the page: no script and no other file, in light and dark, from a phone to a wide screen. It
//!   lists the refusals, timeouts, false replies, stalls and bans of each peer, and draws a bar for each request: queued
//!   at the peer, waiting, transfer. Details of a bar show when it is pointed at, tapped, or reached with the keyboard.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use qrinfo_core::{AttemptErrorKind, PeerEvent, PeerId, RequestId, SendId};
//! use qrinfo_report::Report;
//!
//! let start = tokio::time::Instant::now().into_std();
//! let at = |milliseconds| start + Duration::from_millis(milliseconds);
//! let peer = PeerId::Address(([203, 0, 113, 7], 9999).into());
//! let send = SendId { peer, seq: 0 };
//!
//! let mut report = Report::default();
//! let run = report.begin("newest cycle", start);
//! let sent = PeerEvent::Sent { send, request: RequestId(1), is_copy: false, at: start };
//! report.peer_event(run, &sent, at(0));
//! let refused = PeerEvent::Ended { send, outcome: Err(AttemptErrorKind::Refused), at: at(80) };
//! report.peer_event(run, &refused, at(80));
//! report.fact("time", "0.08 s");
//! assert!(report.page().contains("refused request 1"));
//! ```
//!
//! A sync of the crate `qrinfo` hands out these events by its method `events`; the command `qrinfo` writes the page with
//! `--report FILE.html`.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | none | | |
//!
//! # Errors
//!
//! There are none. Events that are not shown are counted, and the page says how many.
//!
//! # Bounds
//!
//! | bound | value |
//! |---|---|
//! | requests on the page | 20,000 in all syncs |
//! | stalls of a peer, notes of a sync | 200 each |
//! | points of a curve | 4,000 |
//!
//! # Minimum Rust version
//!
//! 1.90; raising it is a minor change.
//!
//! # See also
//!
//! The repository's `docs/glossary.md` explains the terms.

mod incident;
mod page;
mod record;
mod rows;
mod text;

use std::time::Instant;

use qrinfo_core::{PeerEvent, RecoveryEvent};

use self::record::{Limits, Run};

/// The events and facts of one or more syncs, and the page that shows them.
#[derive(Debug, Default)]
pub struct Report {
    runs: Vec<Run>,
    facts: Vec<(String, String)>,
    limits: Limits,
}

/// A sync of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunId(usize);

// === impl Report ===

impl Report {
    /// Begins a sync. Its title is a heading of the page.
    pub fn begin(&mut self, title: &str, now: Instant) -> RunId {
        self.runs.push(Run::new(title, now));
        RunId(self.runs.len() - 1)
    }

    /// Takes an event at a peer, which arrived at `now`.
    pub fn peer_event(&mut self, run: RunId, event: &PeerEvent, now: Instant) {
        if let Some(run) = self.runs.get_mut(run.0) {
            run.at_peer(event, now, &mut self.limits);
        }
    }

    /// Takes a decision about a failure, which was made at `now`.
    pub fn recovery_event(&mut self, run: RunId, event: &RecoveryEvent, now: Instant) {
        if let Some(run) = self.runs.get_mut(run.0) {
            run.decided(event, now, &mut self.limits);
        }
    }

    /// Counts events that did not reach the report.
    pub fn missed(&mut self, count: u64) {
        self.limits.missed += count;
    }

    /// Adds a line about the outcome: a name and a value.
    pub fn fact(&mut self, name: &str, value: impl ToString) {
        self.facts.push((name.to_owned(), value.to_string()));
    }

    /// The page, as HTML.
    pub fn page(&self) -> String {
        page::page(self)
    }
}
