//! The page of a sync whose events are made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use qrinfo_core::{
    AttemptErrorKind, LeaveReason, PeerEvent, PeerId, RecoveryEvent, RequestId, SendId, retry::RecoveryStrategy,
};
use qrinfo_report::{Report, RunId};

fn peer(n: u8) -> PeerId {
    PeerId::Address(([203, 0, 113, n], 9999).into())
}

/// A report whose time is given in milliseconds.
struct Told {
    report: Report,
    run: RunId,
    start: Instant,
    sent: u64,
}

impl Told {
    fn new() -> Self {
        let start = tokio::time::Instant::now().into_std();
        let mut report = Report::default();
        let run = report.begin("cycles", start);
        Self { report, run, start, sent: 0 }
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.start + Duration::from_millis(milliseconds)
    }

    fn tell(&mut self, milliseconds: u64, event: PeerEvent) {
        self.report.peer_event(self.run, &event, self.at(milliseconds));
    }

    /// A request that ends without a reply.
    fn fails(&mut self, n: u8, request: u64, kind: AttemptErrorKind) {
        let send = SendId { peer: peer(n), seq: self.sent };
        self.sent += 1;
        let (sent, ended) = (self.at(request), self.at(request + 50));
        self.tell(request, PeerEvent::Sent { send, request: RequestId(request), is_copy: false, at: sent });
        self.tell(request + 50, PeerEvent::Ended { send, outcome: Err(kind), at: ended });
    }
}

#[test]
fn incidents_of_one_kind_at_a_peer_are_one_line() {
    let mut told = Told::new();
    for request in 0..20 {
        told.fails(1, 10 * request, AttemptErrorKind::Refused);
    }
    told.fails(2, 7, AttemptErrorKind::Timeout);
    let page = told.report.page();
    assert!(page.contains("refused 20 requests: 0, 10, 20") && page.contains(" and others"), "{page}");
    assert_eq!(page.matches("<li>").count(), 2, "{page}");
    assert!(page.contains("0.05 to 0.24 s") && page.contains("did not answer in time to request 7"), "{page}");
}

/// The connection delivers a false reply as any other; a check behind it finds the lie, and the peer is banned.
#[test]
fn a_lie_that_a_later_check_finds_is_shown_at_its_request() {
    let mut told = Told::new();
    told.fails(1, 5, AttemptErrorKind::Disconnected);
    let send = SendId { peer: peer(1), seq: 99 };
    let at = told.at(10);
    told.tell(10, PeerEvent::Sent { send, request: RequestId(77), is_copy: false, at });
    told.tell(60, PeerEvent::Banned { peer: peer(1), why: AttemptErrorKind::False });
    let decided = RecoveryEvent::Decided {
        request: RequestId(77),
        peer: Some(peer(1)),
        error: AttemptErrorKind::False,
        strategy: RecoveryStrategy::SwitchPeer,
    };
    told.report.recovery_event(told.run, &decided, told.at(60));
    told.tell(61, PeerEvent::Left { peer: peer(1), why: LeaveReason::Disconnected });
    let page = told.report.page();
    assert!(page.contains("sent a false reply to request 77"), "{page}");
    assert!(page.contains("was banned, because it sent a false reply; 1 request went to other peers"), "{page}");
    assert!(page.contains("bar false") && page.contains("bar cut") && !page.contains("left: "), "{page}");
    assert!(page.find("sent a false reply to").unwrap() < page.find("was banned").unwrap(), "the cause comes first");
}

#[test]
fn the_page_stays_small_and_says_what_it_leaves_out() {
    let mut told = Told::new();
    for request in 0..21_000 {
        told.fails(1, request, AttemptErrorKind::Refused);
    }
    for _ in 0..300 {
        let at = told.at(9);
        told.tell(9, PeerEvent::Stalled { peer: peer(1), at });
    }
    told.report.missed(1);
    let page = told.report.page();
    assert!(page.len() < 10_000_000, "{} bytes", page.len());
    // Beginning and end of a thousand requests, a hundred stalls, and one.
    assert!(page.contains("2101 events are not shown"), "{}", &page[page.len() - 200..]);
}

#[test]
fn titles_and_facts_are_text_and_not_markup() {
    let mut report = Report::default();
    report.begin("<script>1</script>", tokio::time::Instant::now().into_std());
    report.fact("a<b", "\"c\" & <d>");
    let page = report.page();
    assert!(page.contains("&lt;script&gt;") && page.contains("a&lt;b") && !page.contains("<script"), "{page}");
    assert!(page.contains("No refusal, timeout, false reply, stall or ban."), "{page}");
}
