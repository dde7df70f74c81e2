//! Everything out of the ordinary: at most one line for each peer and kind.

use std::time::Instant;

use qrinfo_core::{AttemptErrorKind, PeerId};

use crate::{
    record::{Gone, Run, Sending},
    text::Count,
};

/// A kind of incident. Each has a colour and a name, in the list and in the lanes. Causes come before effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Refusal,
    Timeout,
    Stall,
    FalseReply,
    Malformed,
    Ban,
    Left,
}

/// The incidents of one kind at one peer.
#[derive(Debug)]
pub(crate) struct Incident {
    pub(crate) kind: Kind,
    pub(crate) peer: PeerId,
    pub(crate) count: usize,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
    pub(crate) text: String,
}

/// Requests that a line names.
const NAMED: usize = 12;

/// The incidents of a run, in the order of their first times.
pub(crate) fn incidents(run: &Run) -> Vec<Incident> {
    let mut incidents: Vec<_> = run.peers.keys().flat_map(|peer| of_peer(run, *peer)).collect();
    incidents.sort_by_key(|incident| (incident.first, incident.kind));
    incidents
}

/// The incidents at one peer.
pub(crate) fn of_peer(run: &Run, id: PeerId) -> Vec<Incident> {
    let Some(peer) = run.peers.get(&id) else { return Vec::new() };
    let mut found = Vec::new();
    for kind in [Kind::Refusal, Kind::Timeout, Kind::FalseReply, Kind::Malformed] {
        let mut troubles: Vec<_> =
            run.sendings_of(id).filter_map(|sending| Some((trouble(sending)?, sending))).collect();
        troubles.retain(|((_, of), _)| *of == kind);
        troubles.sort_by_key(|((at, _), _)| *at);
        let requests = troubles.iter().map(|(_, sending)| sending.request.0);
        let text = format!("{} {}", kind.verb(), requests_named(requests));
        found.extend(incident(kind, id, troubles.iter().map(|((at, _), _)| *at), text));
    }
    let stalled = "stalled: its requests went to other peers as well".to_owned();
    found.extend(incident(Kind::Stall, id, peer.stalls.iter().copied(), stalled));
    if let Some((at, gone)) = &peer.gone {
        let cut_off = run.sendings_of(id).filter(|sending| sending.is_cut_off()).count();
        let cut_off = match cut_off {
            0 => String::new(),
            count => format!("; {} went to other peers", Count(count, "request")),
        };
        let (kind, text) = match gone {
            Gone::Banned(why) => (Kind::Ban, format!("was banned, because it {why}{cut_off}")),
            Gone::Left(why) => (Kind::Left, format!("left: {why}{cut_off}")),
        };
        found.extend(incident(kind, id, [*at], text));
    }
    found
}

/// The time and kind of a sending's trouble that is the peer's own.
pub(crate) fn trouble(sending: &Sending) -> Option<(Instant, Kind)> {
    match (sending.fault, sending.end, sending.timed_out) {
        (Some((at, AttemptErrorKind::Malformed)), ..) => Some((at, Kind::Malformed)),
        (Some((at, _)), ..) => Some((at, Kind::FalseReply)),
        (None, Some((at, Err(AttemptErrorKind::Refused))), _) => Some((at, Kind::Refusal)),
        (None, _, Some(at)) | (None, Some((at, Err(AttemptErrorKind::Timeout))), None) => Some((at, Kind::Timeout)),
        _ => None,
    }
}

fn incident(kind: Kind, peer: PeerId, times: impl IntoIterator<Item = Instant>, text: String) -> Option<Incident> {
    let times: Vec<_> = times.into_iter().collect();
    let (first, last) = (*times.first()?, *times.last()?);
    Some(Incident { kind, peer, count: times.len(), first, last, text })
}

fn requests_named(requests: impl Iterator<Item = u64>) -> String {
    let requests: Vec<_> = requests.map(|request| request.to_string()).collect();
    let named = requests[..requests.len().min(NAMED)].join(", ");
    match requests.len() {
        1 => format!("request {named}"),
        count if count > NAMED => format!("{count} requests: {named} and others"),
        count => format!("{count} requests: {named}"),
    }
}

// === impl Kind ===

impl Kind {
    /// Its name in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::FalseReply | Self::Malformed => "false",
            Self::Stall => "stall",
            Self::Timeout => "timeout",
            Self::Refusal => "refused",
            Self::Left => "left",
        }
    }

    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::FalseReply => "false reply",
            Self::Malformed => "malformed message",
            Self::Stall => "stall",
            Self::Timeout => "timeout",
            Self::Refusal => "refusal",
            Self::Left => "departure",
        }
    }

    /// The word at a mark.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Left => "left",
            kind => kind.noun(),
        }
    }

    /// The sign on a bar. It is told apart without colour.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Refusal => "×",
            Self::Timeout => "…",
            _ => "!",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Refusal => "refused",
            Self::Timeout => "did not answer in time to",
            Self::Malformed => "sent a malformed message for",
            _ => "sent a false reply to",
        }
    }
}
