//! Figures of a sync for the `metrics` facade, for whichever recorder the program installs.
//!
//! | name | kind | |
//! |---|---|---|
//! | `qrinfo_replies_total` | counter | replies that were delivered, also those that were rejected after that |
//! | `qrinfo_reply_bytes_total` | counter | bytes of their payloads |
//! | `qrinfo_reply_seconds` | histogram | from sending a request to the end of its reply |
//! | `qrinfo_failures_total` | counter, label `kind` | attempts that failed, by [`AttemptErrorKind`]; rejected replies are `false` |
//! | `qrinfo_follow_tip` | gauge | height of a follower's agreed tip |
//! | `qrinfo_follow_lists` | gauge | height of its newest proven lists |
//! | `qrinfo_follow_synced` | gauge | 1 while the lists at the tip are proven, else 0 |
//! | `qrinfo_follow_peers` | gauge | its connected peers |
//! | `qrinfo_follow_reorganizations_total` | counter | changes of its chain that took blocks away |
//! | `qrinfo_follow_locks_total` | counter, label `kind` | verified locks, `chain` or `instant` |
//!
//! Without a recorder they cost a few nanoseconds; without the feature `metrics` nothing.

use qrinfo_core::{AttemptErrorKind, Timing};

/// Names and units, for recorders that show them. Call it once, after the recorder is installed.
pub fn describe() {
    use ::metrics::{Unit, describe_counter, describe_histogram};
    describe_counter!("qrinfo_replies_total", Unit::Count, "Replies that were delivered.");
    describe_counter!("qrinfo_reply_bytes_total", Unit::Bytes, "Bytes of the delivered replies' payloads.");
    describe_histogram!("qrinfo_reply_seconds", Unit::Seconds, "From sending a request to the end of its reply.");
    describe_counter!("qrinfo_failures_total", Unit::Count, "Attempts that failed, by kind.");
    #[cfg(feature = "follow")]
    describe_follow();
}

pub(crate) fn delivered(timing: &Timing) {
    ::metrics::counter!("qrinfo_replies_total").increment(1);
    ::metrics::counter!("qrinfo_reply_bytes_total").increment(timing.bytes);
    let took = timing.done.saturating_duration_since(timing.sent);
    ::metrics::histogram!("qrinfo_reply_seconds").record(took);
}

pub(crate) fn failed(kind: AttemptErrorKind) {
    ::metrics::counter!("qrinfo_failures_total", "kind" => kind.label()).increment(1);
}

#[cfg(feature = "follow")]
fn describe_follow() {
    use ::metrics::{Unit, describe_counter, describe_gauge};
    describe_gauge!("qrinfo_follow_tip", Unit::Count, "Height of the agreed tip.");
    describe_gauge!("qrinfo_follow_lists", Unit::Count, "Height of the newest proven lists.");
    describe_gauge!("qrinfo_follow_synced", Unit::Count, "1 while the lists at the tip are proven.");
    describe_gauge!("qrinfo_follow_peers", Unit::Count, "Connected peers.");
    describe_counter!("qrinfo_follow_reorganizations_total", Unit::Count, "Changes that took blocks away.");
    describe_counter!("qrinfo_follow_locks_total", Unit::Count, "Verified locks, by kind.");
}

/// The heights of a follower's tip and lists, its peers, and its state.
#[cfg(feature = "follow")]
pub(crate) fn followed(tip: u32, lists: u32, peers: usize, is_synced: bool) {
    ::metrics::gauge!("qrinfo_follow_tip").set(tip);
    ::metrics::gauge!("qrinfo_follow_lists").set(lists);
    ::metrics::gauge!("qrinfo_follow_peers").set(peers as f64);
    ::metrics::gauge!("qrinfo_follow_synced").set(if is_synced { 1 } else { 0 });
}

#[cfg(feature = "follow")]
pub(crate) fn reorganized() {
    ::metrics::counter!("qrinfo_follow_reorganizations_total").increment(1);
}

#[cfg(feature = "follow")]
pub(crate) fn locked(kind: &'static str) {
    ::metrics::counter!("qrinfo_follow_locks_total", "kind" => kind).increment(1);
}
