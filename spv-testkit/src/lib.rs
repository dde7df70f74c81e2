//! Dash peers for tests and demonstrations, without a Dash node.
//!
//! | item | for |
//! |---|---|
//! | [`Recording`] | answers of a real node to hundreds of `getqrinfo`, and its headers; a part is compiled in |
//! | [`RecordedPeer`] | a node over TCP that answers as that recorded node did |
//! | [`SimulatedPeer`] | a node in memory that answers from any [`Answers`], at a chosen pace, with faults and lies |
//! | [`Chain`], [`SyntheticChain`] | what a node stores: learnt from a recording, or made up from a seed |
//! | [`LiveChain`] | a chain that grows and reorganizes while its nodes serve it |
//! | [`builder`] | what a version of Dash Core ([`ServerVersion`]) answers from a chain, to the byte |
//! | [`MockNetworkManager`], [`MemoryStorageManager`] | a client's network whose peers are simulated, and its storage |
//! | [`Scenario`], [`LinkModel`] | the timing of peers as explicit numbers, for benchmarks that repeat exactly |
//!
//! # Example
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use spv_testkit::{Fault, PeerProfile, RecordedPeer, Recording};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let recording = Arc::new(Recording::bundled()?);
//!     let profile = PeerProfile {
//!         round_trip: Duration::from_millis(80),
//!         compute: Duration::from_millis(10),
//!         rate: Some(1_000_000),
//!     };
//!     let peer = RecordedPeer::builder(recording).profile(profile).fault(10.., Fault::Silent).spawn().await?;
//!     println!("a node that falls silent listens at {}", peer.address());
//!     Ok(())
//! }
//! ```
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `bls` | | real BLS keys and signatures in made-up chains |
//!
//! # Errors
//!
//! | error | what to do |
//! |---|---|
//! | [`RecordingError`] | check the directory of the recording |
//! | [`ScenarioError`] | correct the scenario file |
//!
//! # Bounds
//!
//! For tests: a peer keeps what its test gives it, and stops when it is dropped. The compiled-in recordings are 1.4 MB.
//! All times follow tokio's clock, so that a test with paused time waits for nothing.
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`qrinfo_core`]: the messages that peers answer with. [`spv_x11`]: the hash of made-up headers.
//! * [`qrinfo`](https://docs.rs/qrinfo): a client to test with it.
//! * `docs/glossary.md` in the repository: the terms of this project.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answers;
pub mod builder;
pub mod chain;
mod link_model;
mod live;
mod network;
mod pace;
mod recorded_peer;
pub mod recording;
pub mod scenario;
mod server;
mod simulated_peer;
pub mod storage;
mod synthetic;

pub use answers::{Answers, Cost, NodeFacts, Response};
pub use chain::Chain;
pub use link_model::{LinkModel, SEND_BUFFER, Transit};
pub use live::LiveChain;
pub use network::{MockNetworkManager, Sent};
pub use recorded_peer::{RecordedAnswers, RecordedPeer};
pub use recording::{Answer, CompleteSync, Exchange, Plan, Recording, RecordingError};
pub use scenario::{Scenario, ScenarioError, Timeline};
pub use server::{ServerSession, ServerVersion};
pub use simulated_peer::{Fault, HeaderFault, PeerProfile, PeerStats, SimulatedPeer, SimulatedPeerBuilder};
pub use storage::MemoryStorageManager;
pub use synthetic::{Fork, Keys, SyntheticChain, SyntheticParams};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
