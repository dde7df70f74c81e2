//! The model of a peer as the sentences of its definition say it, in microseconds, without the library's own.

use spv_testkit::scenario::{Run, Stall};

/// The instant at which the client sees the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Seen {
    /// The reply's first byte leaves the link, and its last.
    Reply { first: f64, last: f64 },
    /// The pong that shows the refusal.
    Refusal { pong: f64 },
}

/// A reply on the link.
struct Reply {
    start: f64,
    end: f64,
    transfer: f64,
    bytes: f64,
}

/// Returns the result of each of these jobs, asked at these times, and the number of times that the peer stopped
/// reading.
pub(crate) fn arithmetic(run: &Run, peer: usize, send_buffer: u64, asked: &[(u64, usize)]) -> (Vec<Seen>, usize) {
    let numbers = &run.peers[peer];
    let stall = run.stall.filter(|stall| stall.peer == peer);
    let half = numbers.rtt_us as f64 / 2.0;
    let mut gated = 0;
    let mut compute_free: f64 = 0.0;
    let mut link: Vec<Reply> = Vec::new();
    let mut seen = Vec::new();
    for &(sent, job) in asked {
        // Half a round trip, then one at a time in order.
        let mut taken = compute_free.max(sent as f64 + half);
        // The reading gate: while more than the buffer is unsent at the server, it does not take the next request.
        if unsent(&link, taken, stall) > send_buffer as f64 {
            gated += 1;
            let (mut closed, mut open) = (taken, link.last().unwrap().end);
            for _ in 0..100 {
                let middle = (closed + open) / 2.0;
                if unsent(&link, middle, stall) > send_buffer as f64 { closed = middle } else { open = middle }
            }
            taken = open;
        }
        let computed = finish(taken, numbers.compute_us[job] as f64, stall);
        compute_free = computed;
        // One link, in order, then half a round trip.
        let start = link.last().map_or(computed, |reply| reply.end.max(computed));
        if run.refused.get(peer).is_some_and(|refused| refused.contains(&job)) {
            // Nothing on the link; the pong waits behind the earlier replies.
            seen.push(Seen::Refusal { pong: start + half });
            continue;
        }
        let transfer = numbers.transfer_us[job] as f64;
        let end = finish(start, transfer, stall);
        link.push(Reply { start, end, transfer, bytes: run.reply_bytes[job] as f64 });
        seen.push(Seen::Reply { first: start + half, last: end + half });
    }
    (seen, gated)
}

/// Returns the end of work that starts at a time: the rest that is left when the stall begins takes longer.
fn finish(start: f64, work: f64, stall: Option<Stall>) -> f64 {
    let Some(Stall { at_us, factor, .. }) = stall else { return start + work };
    let done_before = (at_us as f64 - start).clamp(0.0, work);
    start + done_before + (work - done_before) * f64::from(factor)
}

/// Bytes of computed replies that have not left the server. No reply is computed while it waits, so all are there.
fn unsent(link: &[Reply], at: f64, stall: Option<Stall>) -> f64 {
    let left = |reply: &Reply| {
        if at <= reply.start {
            return reply.bytes;
        }
        if at >= reply.end {
            return 0.0;
        }
        let worked = match stall {
            Some(Stall { at_us, factor, .. }) => {
                let begins = (at_us as f64).max(reply.start);
                (at.min(begins) - reply.start) + (at - begins).max(0.0) / f64::from(factor)
            }
            None => at - reply.start,
        };
        reply.bytes * (1.0 - worked / reply.transfer)
    };
    link.iter().map(left).sum()
}
