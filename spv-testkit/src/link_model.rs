use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::pace::{Pace, later};

/// The number of unsent bytes at which a server stops reading from that client (Dash Core's default of
/// `-maxsendbuffer`). Bytes that were sent and have not arrived do not count.
pub const SEND_BUFFER: u64 = 1_000_000;

/// The arrival times of a peer's answers: half a round trip, one compute stage, one link, half a round trip.
///
/// Both stages take one answer at a time in the order asked, and work at the same time: the peer computes an answer
/// while the one before is on the link. It takes up a request only while at most [`SEND_BUFFER`] bytes of answers are
/// waiting for the link.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use spv_testkit::LinkModel;
///
/// let ms = Duration::from_millis;
/// let sent = Instant::now();
/// let mut peer = LinkModel::new(ms(100));
/// let first = peer.answer(sent, ms(10), ms(40), 4_000);
/// assert_eq!((first.first_byte - sent, first.last_byte - sent), (ms(110), ms(150)));
/// // Asked at once as well: computed meanwhile, then right behind the first on the link.
/// let second = peer.answer(sent, ms(10), ms(40), 4_000);
/// assert_eq!((second.first_byte - sent, second.last_byte - sent), (ms(150), ms(190)));
/// ```
#[derive(Debug, Clone)]
pub struct LinkModel {
    half_trip: Duration,
    send_buffer: u64,
    pace: Pace,
    /// The instant at which the compute stage has finished all requests.
    computed: Option<Instant>,
    /// Answers that are not wholly on their way, oldest first.
    unsent: VecDeque<Unsent>,
    /// The instant at which the link has sent all answers.
    link_free: Option<Instant>,
}

/// The instants at which an answer reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transit {
    /// The link starts on it, half a round trip ago.
    pub first_byte: Instant,
    /// The link has sent it, half a round trip ago.
    pub last_byte: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Unsent {
    bytes: u64,
    start: Instant,
    transfer: Duration,
    sent: Instant,
}

// === impl LinkModel ===

impl LinkModel {
    /// An idle peer at this round trip.
    pub fn new(round_trip: Duration) -> Self {
        Self {
            half_trip: round_trip / 2,
            send_buffer: SEND_BUFFER,
            pace: Pace::default(),
            computed: None,
            unsent: VecDeque::new(),
            link_free: None,
        }
    }

    /// Sets the number of unsent bytes at which it stops reading; [`SEND_BUFFER`] by default.
    #[must_use]
    pub fn send_buffer(mut self, bytes: u64) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// The same peer, but from this instant on everything takes `factor` times as long.
    #[must_use]
    pub fn slow(mut self, from: Instant, factor: u32) -> Self {
        self.pace.slow(from, factor);
        self
    }

    /// At another speed from some instants on.
    #[must_use]
    pub(crate) fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// A request leaves the client at `sent`, not before any earlier one. Its answer takes `compute` to make and
    /// `transfer` on the link for its `bytes`. A refusal has no bytes and takes no time on the link.
    pub fn answer(&mut self, sent: Instant, compute: Duration, transfer: Duration, bytes: u64) -> Transit {
        let arrived = later(sent, self.half_trip);
        let taken = self.gate(self.computed.map_or(arrived, |computed| computed.max(arrived)));
        let computed = self.pace.after(taken, compute);
        let start = self.link_free.map_or(computed, |free| free.max(computed));
        let end = self.pace.after(start, transfer);
        self.computed = Some(computed);
        self.link_free = Some(end);
        self.unsent.push_back(Unsent { bytes, start, transfer, sent: end });
        Transit { first_byte: later(start, self.half_trip), last_byte: later(end, self.half_trip) }
    }

    /// The instant at which `part` of the `whole` bytes of an answer that takes `transfer` on the link have arrived.
    pub fn arrival(&self, transit: Transit, transfer: Duration, part: u64, whole: u64) -> Instant {
        // The link's clock is half a round trip behind the client's.
        let start = transit.first_byte - self.half_trip;
        later(self.pace.after(start, share(transfer, part, whole)), self.half_trip)
    }

    /// The first instant from `at` on when the unsent bytes fit the send buffer.
    fn gate(&mut self, at: Instant) -> Instant {
        self.unsent.retain(|answer| answer.sent > at);
        let mut room = self.send_buffer;
        // The newest leaves last: go back to the answer of which only a part may still be there.
        for answer in self.unsent.iter().rev() {
            match room.checked_sub(answer.bytes) {
                Some(left) => room = left,
                None => {
                    let to_send = share(answer.transfer, answer.bytes - room, answer.bytes);
                    return at.max(self.pace.after(answer.start, to_send));
                }
            }
        }
        at
    }
}

/// The part of `time` that `part` of `whole` takes, to the nanosecond below; all of it where there is no whole.
pub(crate) fn share(time: Duration, part: u64, whole: u64) -> Duration {
    match (time.as_nanos() * u128::from(part)).checked_div(u128::from(whole)) {
        Some(nanos) => Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)),
        None => time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Feeds (sent, compute, transfer, bytes), all in milliseconds and bytes, and gives back (first, last byte).
    fn run(round_trip: u64, answers: &[(u64, u64, u64, u64)]) -> Vec<(u128, u128)> {
        let start = start();
        let mut model = LinkModel::new(ms(round_trip));
        answers
            .iter()
            .map(|&(sent, compute, transfer, bytes)| {
                let transit = model.answer(start + ms(sent), ms(compute), ms(transfer), bytes);
                ((transit.first_byte - start).as_millis(), (transit.last_byte - start).as_millis())
            })
            .collect()
    }

    #[test]
    fn one_at_a_time_pays_the_round_trip_each_time() {
        assert_eq!(run(100, &[(0, 10, 40, 9), (150, 10, 40, 9)]), [(110, 150), (260, 300)]);
    }

    #[test]
    fn a_slow_link_hides_the_compute_stage_and_the_round_trip() {
        assert_eq!(run(100, &[(0, 10, 40, 9); 4]), [(110, 150), (150, 190), (190, 230), (230, 270)]);
    }

    #[test]
    fn a_slow_compute_stage_hides_the_link_and_the_round_trip() {
        assert_eq!(run(100, &[(0, 40, 10, 9); 4]), [(140, 150), (180, 190), (220, 230), (260, 270)]);
    }

    #[test]
    fn a_refusal_takes_compute_time_and_its_pong_waits_for_earlier_replies() {
        // A reply, a refusal, its pong, another reply.
        let answers = [(0, 10, 100, 9), (0, 30, 0, 0), (0, 0, 0, 32), (0, 10, 50, 9)];
        assert_eq!(run(20, &answers), [(30, 130), (130, 130), (130, 130), (130, 180)]);
        // Nothing on the link: the pong comes once the refusal is computed.
        assert_eq!(run(20, &[(0, 30, 0, 0), (0, 0, 0, 32)])[1], (50, 50));
    }

    #[test]
    fn a_request_is_taken_up_when_the_unsent_bytes_fit_the_buffer() {
        // Two replies of 800 kB at 8 kB/ms: computed at 1 and 2 ms, on the link until 101 and 201 ms. 1.6 MB are
        // unsent then; 1 MB is left 125 ms before the end, at 76 ms. A long computation shows it.
        let answers = [(0, 1, 100, 800_000), (0, 1, 100, 800_000), (0, 500, 0, 1)];
        assert_eq!(run(0, &answers), [(1, 101), (101, 201), (576, 576)]);
        // Exactly the buffer does not stop the server.
        let answers = [(0, 1, 100, 500_000), (0, 1, 100, 500_000), (0, 500, 0, 1)];
        assert_eq!(run(0, &answers)[2], (502, 502));
        // One reply over the buffer stops it until the rest fits: a third of 3 MB.
        assert_eq!(run(0, &[(0, 0, 300, 3_000_000), (0, 500, 0, 1)])[1], (700, 700));
    }

    #[test]
    fn bytes_on_their_way_do_not_count_as_unsent() {
        // A round trip of a second, a link that is done at once: the client has nothing of 5 MB yet, and the server
        // goes on.
        let answers = [(0, 1, 0, 5_000_000), (0, 1, 0, 5_000_000), (0, 1, 0, 5_000_000)];
        assert_eq!(run(1_000, &answers), [(1_001, 1_001), (1_002, 1_002), (1_003, 1_003)]);
    }

    proptest::proptest! {
        /// Against the plain meaning, stepped through millisecond by millisecond.
        #[test]
        fn agrees_with_a_step_by_step_simulation(
            round_trip in 0_u64..20,
            answers in proptest::collection::vec((0_u64..30, 0_u64..20, 0_u64..40, 1_u64..8), 1..20),
        ) {
            let mut sent = 0;
            // Bytes go by the time on the link, 50 kB a millisecond, so that all instants are whole milliseconds.
            let answers: Vec<_> = answers
                .into_iter()
                .map(|(gap, compute, transfer, _)| {
                    sent += gap;
                    (sent, compute, transfer, transfer * 50_000)
                })
                .collect();
            proptest::prop_assert_eq!(run(round_trip * 2, &answers), stepped(round_trip, &answers));
        }
    }

    fn stepped(half_trip: u64, answers: &[(u64, u64, u64, u64)]) -> Vec<(u128, u128)> {
        let mut transits = Vec::new();
        let mut inbox: VecDeque<_> = answers.iter().copied().collect();
        let mut computing: Option<(u64, u64, u64)> = None;
        // (bytes left, milliseconds left, first millisecond on the link)
        let mut link: VecDeque<(u64, u64, Option<u64>)> = VecDeque::new();
        let mut now = 0;
        while !inbox.is_empty() || computing.is_some() || !link.is_empty() {
            // Within one instant, until nothing moves any more.
            loop {
                let before = (inbox.len(), computing, link.clone());
                if let Some((0, transfer, bytes)) = computing {
                    link.push_back((bytes, transfer, None));
                    computing = None;
                }
                if let Some(front) = link.front_mut() {
                    let first = *front.2.get_or_insert(now);
                    if front.1 == 0 {
                        transits.push((u128::from(first + half_trip), u128::from(now + half_trip)));
                        link.pop_front();
                    }
                }
                let unsent: u64 = link.iter().map(|(bytes, ..)| bytes).sum();
                if computing.is_none()
                    && unsent <= SEND_BUFFER
                    && let Some((sent, compute, transfer, bytes)) = inbox.front().copied()
                    && sent + half_trip <= now
                {
                    computing = Some((compute, transfer, bytes));
                    inbox.pop_front();
                }
                if before == (inbox.len(), computing, link.clone()) {
                    break;
                }
            }
            now += 1;
            if let Some((compute, ..)) = &mut computing {
                *compute -= 1;
            }
            if let Some((bytes, left, _)) = link.front_mut() {
                *left -= 1;
                *bytes -= 50_000;
            }
        }
        transits
    }
}
