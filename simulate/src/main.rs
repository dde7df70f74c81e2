//! Simulation of whole clients on bad days.
fn main() {}
