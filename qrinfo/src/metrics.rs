//! Figures of a sync for the `metrics` facade, for whichever recorder the program installs.
//!
//! | name | kind | |
//! |---|---|---|
//! | `qrinfo_replies_total` | counter | replies that were delivered, also those that were rejected after that |
//! | `qrinfo_reply_bytes_total` | counter | bytes of their payloads |
//! | `qrinfo_reply_seconds` | histogram | from sending a request to the end of its reply |
//! | `qrinfo_failures_total` | counter, label `kind` | attempts that failed, by [`AttemptErrorKind`]; rejected replies are `false` |
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
