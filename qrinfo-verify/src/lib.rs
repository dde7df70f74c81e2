//! Whether a `qrinfo` reply is true.
