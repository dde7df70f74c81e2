use std::time::{Duration, Instant};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, GivenUp, PeerId, Request, WhyGivenUp};

use crate::{Backoff, FailureClass, RecoverySettings, RecoveryStrategy, peers::PeerBook};

/// One request on its way to a reply: who was asked, and who is asked next. A plain struct.
#[derive(Debug)]
pub(crate) struct Pursuit {
    height: u32,
    deadline: Option<Instant>,
    /// From the first failure on.
    time_to_recover: Duration,
    /// Attempts left. Refusals are not counted, nor what is excused.
    chances: u32,
    /// The bounds of backoff, first and longest.
    backoff: (Duration, Duration),
    /// How often everyone had his chance.
    rounds: u32,
    failures: Vec<AttemptError>,
    refused: Vec<PeerId>,
    /// Failed otherwise, since everyone had his chance.
    failed: Vec<PeerId>,
    /// Asked for by the caller.
    avoid: Vec<PeerId>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask again at once.
    Now,
    /// Ask again after a wait of at most this long.
    Later(Duration),
    /// Ask again when a peer has joined.
    WhenPeersJoin,
    /// It ends without a reply.
    GiveUp(WhyGivenUp),
}

// === impl Pursuit ===

impl Pursuit {
    pub(crate) fn new(attempt: &Attempt, settings: &RecoverySettings) -> Self {
        // A request may name a later block of its cycle. Asking too many is safe, giving up too early is not.
        let height = match &attempt.request {
            Request::QrInfo(spec) => spec.cycle_height,
            Request::MnListDiff(_) => 0,
        };
        Self {
            height,
            deadline: attempt.deadline,
            time_to_recover: settings.deadline,
            chances: settings.max_attempts.max(1),
            backoff: (settings.first_backoff, settings.longest_backoff),
            rounds: 0,
            failures: Vec::new(),
            refused: Vec::new(),
            failed: Vec::new(),
            avoid: attempt.avoid.clone(),
        }
    }

    /// The peers not to ask now.
    pub(crate) fn avoid(&self, book: &PeerBook) -> Vec<PeerId> {
        let mut avoid = self.avoid.clone();
        avoid.extend(&self.refused);
        avoid.extend(&self.failed);
        avoid.extend(&book.banned);
        avoid.sort_unstable();
        avoid.dedup();
        avoid
    }

    /// An attempt failed. `strategy` is what the manager makes of it; `excused` says that it is not the request's fault.
    pub(crate) fn failed(
        &mut self,
        mut error: AttemptError,
        strategy: &RecoveryStrategy,
        excused: bool,
        book: &PeerBook,
        now: Instant,
    ) -> Next {
        let kind = error.kind();
        let class = FailureClass::of(kind);
        if self.failures.is_empty() {
            let latest = now.checked_add(self.time_to_recover);
            self.deadline = [self.deadline, latest].into_iter().flatten().min();
        }
        for earlier in error.take_earlier() {
            self.note(&earlier, excused);
            self.failures.push(earlier);
        }
        self.note(&error, excused);
        if kind != AttemptErrorKind::NoPeer {
            self.failures.push(error);
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Next::GiveUp(WhyGivenUp::DeadlinePassed);
        }
        if kind == AttemptErrorKind::NoPeer {
            return self.nobody(book);
        }
        if !class.ask_elsewhere {
            return Next::GiveUp(WhyGivenUp::NotThePeers);
        }
        if kind == AttemptErrorKind::Refused {
            if book.all_refused(self.height, &self.refused) {
                return Next::GiveUp(WhyGivenUp::Unanswerable);
            }
        } else if !class.peers_fault {
            let another = matches!(strategy, RecoveryStrategy::Retry { .. } | RecoveryStrategy::SwitchPeer);
            if self.chances == 0 || !another {
                return Next::GiveUp(WhyGivenUp::Exhausted);
            }
        }
        let delay = match strategy {
            RecoveryStrategy::Retry { delay } => *delay,
            _ => Duration::ZERO,
        };
        if kind == AttemptErrorKind::Overloaded || !book.watched {
            return Next::Later(delay);
        }
        if book.has_other_than(&self.avoid(book)) {
            // A wait spares a peer that failed. This one has not.
            return Next::Now;
        }
        self.nobody(book)
    }

    /// Counts a failure, and remembers whose it was.
    fn note(&mut self, error: &AttemptError, excused: bool) {
        let Some(peer) = error.peer() else { return };
        let refused = error.kind() == AttemptErrorKind::Refused;
        let list = if refused { &mut self.refused } else { &mut self.failed };
        if !list.contains(&peer) {
            list.push(peer);
        }
        // Who is at fault is not asked again: as many as there are may be.
        let counts = !refused && !excused && !FailureClass::of(error.kind()).peers_fault;
        self.chances = self.chances.saturating_sub(u32::from(counts));
    }

    /// Everyone there is has failed it. Those that did not refuse are asked again.
    fn nobody(&mut self, book: &PeerBook) -> Next {
        let (first, longest) = self.backoff;
        let again = Next::Later(Backoff::bound(first, longest, self.rounds));
        self.rounds = self.rounds.saturating_add(1);
        if !self.failed.is_empty() {
            self.failed.clear();
            if !book.watched || book.has_other_than(&self.avoid(book)) {
                return again;
            }
        }
        if self.refused.len() >= 2 {
            return Next::GiveUp(WhyGivenUp::Unanswerable);
        }
        // A lone peer's refusal proves nothing: another may know the blocks.
        if book.watched && !book.has_other_than(&self.avoid(book)) {
            return Next::WhenPeersJoin;
        }
        // The service below sees it otherwise: it may know of a peer that left before we do.
        self.chances = self.chances.saturating_sub(1);
        if self.chances == 0 { Next::GiveUp(WhyGivenUp::NoPeers) } else { again }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn give_up(self, why: WhyGivenUp) -> AttemptError {
        GivenUp { why, attempts: self.failures }.into_error()
    }
}
