//! The command `qrinfo`.

fn main() {}
