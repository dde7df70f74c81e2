//! A peer by the model of the scenario files, as arithmetic.
//!
//! Half a round trip, one request computing at a time, one reply on the link at a time, half a round trip; and a gate:
//! the next request is read only while at most so many bytes of earlier replies are unsent. Requests arrive in the
//! order of sending, so that all instants of a request are known when it is sent. Times are microseconds.

/// From `at` on, work takes `factor` times as long.
#[derive(Debug, Clone, Copy)]
pub struct Stall {
    pub at: f64,
    pub factor: f64,
}

#[derive(Debug, Clone)]
pub struct ModelPeer {
    half_round_trip: f64,
    send_buffer: f64,
    stall: Option<Stall>,
    compute_free: f64,
    replies: Vec<Reply>,
}

/// What a request costs this peer.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub compute: f64,
    pub transfer: f64,
    pub bytes: f64,
    pub refused: bool,
}

/// When the client sees the reply. Of a refusal it sees only `done`, the pong.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub first_byte: f64,
    pub done: f64,
    link: Reply,
    half_round_trip: f64,
    stall: Option<Stall>,
}

/// A reply on the link, at the server.
#[derive(Debug, Clone, Copy)]
struct Reply {
    start: f64,
    end: f64,
    transfer: f64,
    bytes: f64,
}

/// When `work` is done that begins at `start`.
fn finish(start: f64, work: f64, stall: Option<Stall>) -> f64 {
    match stall {
        Some(Stall { at, factor }) if start >= at => start + work * factor,
        Some(Stall { at, factor }) if start + work > at => at + (start + work - at) * factor,
        _ => start + work,
    }
}

impl ModelPeer {
    pub fn new(round_trip: f64, send_buffer: f64, stall: Option<Stall>) -> Self {
        Self { half_round_trip: round_trip / 2.0, send_buffer, stall, compute_free: 0.0, replies: Vec::new() }
    }

    /// Takes a request that is sent at `now`, after all that were sent before.
    pub fn serve(&mut self, cost: Cost, now: f64) -> Seen {
        let read = self.gate((now + self.half_round_trip).max(self.compute_free));
        let computed = finish(read, cost.compute, self.stall);
        self.compute_free = computed;
        let start = self.replies.last().map_or(computed, |last| last.end.max(computed));
        let (transfer, bytes) = if cost.refused { (0.0, 0.0) } else { (cost.transfer, cost.bytes) };
        let link = Reply { start, end: finish(start, transfer, self.stall), transfer, bytes };
        self.replies.push(link);
        Seen {
            first_byte: start + self.half_round_trip,
            done: link.end + self.half_round_trip,
            link,
            half_round_trip: self.half_round_trip,
            stall: self.stall,
        }
    }

    /// The first instant, not before `time`, at which no more than the buffer is unsent.
    fn gate(&self, time: f64) -> f64 {
        let mut unsent = 0.0;
        // Newest first: the buffer holds the newest replies; what is before them has to be sent.
        for reply in self.replies.iter().rev().take_while(|reply| reply.end > time) {
            if unsent + reply.bytes > self.send_buffer {
                let left = self.send_buffer - unsent;
                return time.max(reply.when(reply.bytes - left, self.stall));
            }
            unsent += reply.bytes;
        }
        time
    }
}

impl Reply {
    /// When so many of its bytes are sent.
    fn when(&self, bytes: f64, stall: Option<Stall>) -> f64 {
        finish(self.start, self.transfer * bytes / self.bytes.max(1.0), stall)
    }
}

impl Seen {
    /// When the client has so many bytes.
    pub fn when(&self, bytes: f64) -> f64 {
        self.link.when(bytes, self.stall) + self.half_round_trip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(compute: f64, transfer: f64, bytes: f64) -> Cost {
        Cost { compute, transfer, bytes, refused: false }
    }

    #[test]
    fn two_queues_in_a_row() {
        let mut peer = ModelPeer::new(100.0, 1e6, None);
        let first = peer.serve(cost(10.0, 200.0, 1e5), 0.0);
        assert_eq!((first.first_byte, first.when(5e4), first.done), (110.0, 210.0, 310.0));
        let second = peer.serve(cost(10.0, 5.0, 1e5), 1.0);
        assert_eq!((second.first_byte, second.done), (310.0, 315.0));
        let pong = peer.serve(Cost { refused: true, ..cost(300.0, 9.0, 9.0) }, 2.0);
        assert_eq!(pong.done, 50.0 + 20.0 + 300.0 + 50.0);
    }

    #[test]
    fn the_gate_counts_what_is_unsent() {
        let mut peer = ModelPeer::new(0.0, 1000.0, None);
        peer.serve(cost(10.0, 100.0, 1000.0), 0.0);
        peer.serve(cost(10.0, 100.0, 1000.0), 0.0);
        // Computed at 20; at 110 the first is sent and 1000 bytes are unsent: the third is read then.
        let third = peer.serve(cost(10.0, 100.0, 1000.0), 0.0);
        assert_eq!(third.first_byte, 210.0);
        assert_eq!(peer.compute_free, 120.0);
        // Read when 1000 of the 2000 unsent bytes are sent.
        peer.serve(cost(10.0, 100.0, 1000.0), 0.0);
        assert_eq!(peer.compute_free, 220.0);
    }

    #[test]
    fn a_stall_stretches_the_rest() {
        let stall = Some(Stall { at: 60.0, factor: 30.0 });
        let mut peer = ModelPeer::new(0.0, 1e6, stall);
        let seen = peer.serve(cost(10.0, 100.0, 100.0), 0.0);
        assert_eq!(seen.when(50.0), 60.0);
        assert_eq!(seen.done, 60.0 + 50.0 * 30.0);
    }
}
