use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use qrinfo_core::{
    Attempt, AttemptErrorKind, BlockHash, LeaveReason, MnListDiffRequestSpec, PeerId, RequestId, RequestPriority,
    SendId, Timing,
};
use qrinfo_scheduler::{Event, MAX_DEPTH, Scheduler, Settings, Window};

use crate::{correlator::start, input::Input};

/// A sequence of events at a scheduler of up to eight peers: every request ends at most once, within every limit.
pub fn scheduler(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let settings =
        Settings { cap: 1 + input.below(32), capacity: 64, adaptive: input.below(2) == 0, ..Settings::default() };
    let mut scheduler = Scheduler::new(settings);
    let mut now = start();
    let mut waiting = BTreeSet::new();
    let mut sendings = BTreeMap::new();
    for id in 0..4_096 {
        if input.is_empty() {
            break;
        }
        let peer = PeerId::Address(([127, 0, 0, 1], 1 + input.below(8) as u16).into());
        match input.below(12) {
            0 | 1 => {
                let spec = MnListDiffRequestSpec {
                    base_block_hash: BlockHash::ZERO,
                    block_hash: BlockHash::from_bytes([input.byte(); 32]),
                };
                let priority =
                    [RequestPriority::Critical, RequestPriority::Normal, RequestPriority::Low][input.below(3)];
                let attempt = Attempt { priority, ..Attempt::new(RequestId(id), spec.into()) };
                if scheduler.submit(attempt, now).is_ok() {
                    waiting.insert(RequestId(id));
                }
            }
            2 => {
                // A peer that joins again has lost what its last connection held.
                sendings.retain(|send: &SendId, _| send.peer != peer);
                scheduler.peer_joined(
                    peer,
                    u32::from(input.short()),
                    Duration::from_millis(input.below(256) as u64),
                    now,
                );
            }
            3 => {
                scheduler.peer_left(peer, LeaveReason::Disconnected, now);
                sendings.retain(|send, _| send.peer != peer);
            }
            4 => {
                scheduler.ban(peer, AttemptErrorKind::False, now);
                sendings.retain(|send, _| send.peer != peer);
            }
            5 => now += Duration::from_millis(u64::from(input.short())),
            6 => {
                let first = RequestId(u64::from(input.byte()));
                scheduler.set_window(Some(Window { first, length: u64::from(input.byte()) }));
            }
            7 => {
                let request = RequestId(u64::from(input.short()));
                scheduler.cancel(request);
                waiting.remove(&request);
            }
            choice => {
                let Some((&send, &sent)) = sendings.iter().nth(input.below(16)) else { continue };
                match choice {
                    8 => scheduler.progress(send, u64::from(input.short()), Some(u64::from(input.short())), now),
                    9 => {
                        let timing = Timing {
                            peer: send.peer,
                            sent,
                            head: Some(sent),
                            first_byte: Some(now),
                            done: now,
                            bytes: 500,
                        };
                        scheduler.replied(send, &timing);
                        sendings.remove(&send);
                    }
                    10 => {
                        let kind = [AttemptErrorKind::Refused, AttemptErrorKind::Disconnected, AttemptErrorKind::False];
                        scheduler.failed(send, kind[input.below(3)], now);
                        sendings.remove(&send);
                    }
                    _ => scheduler.timed_out(send, now),
                }
            }
        }
        while let Some(dispatch) = scheduler.next(now) {
            assert_eq!(dispatch.attempt.send, Some(dispatch.send));
            assert!(scheduler.peer(&dispatch.send.peer).is_some(), "a request for a peer that is not there");
            assert!(sendings.insert(dispatch.send, now).is_none(), "a sending was named twice");
        }
        while let Some(event) = scheduler.event() {
            let ended = match event {
                Event::Replied(request, _) | Event::Failed(request, _, _) => Some(request),
                Event::Expired(request) | Event::NoPeerLeft(request) => Some(request),
                _ => None,
            };
            if let Some(request) = ended {
                assert!(waiting.remove(&request), "request {request} ended twice");
            }
        }
        for (peer, health) in scheduler.peers() {
            let held = sendings.keys().filter(|send| send.peer == *peer).count();
            assert_eq!(held, health.outstanding(), "{peer}, {health:?}");
            assert!(held <= MAX_DEPTH, "{peer} holds {held} requests, {health:?}");
        }
        assert!(scheduler.unfinished() <= waiting.len(), "a request that ended is still held");
        if let Some(wakeup) = scheduler.next_wakeup(now) {
            assert!(wakeup > now, "a wake-up that is due although nothing is left to do");
        }
    }
}
