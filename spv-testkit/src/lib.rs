//! Dash peers for tests and demonstrations, without a Dash node.
//!
//! * [`Recording`]: what a real node answered to hundreds of `getqrinfo`, with the headers of its chain. A part of it
//!   is compiled in.
//! * [`SimulatedPeer`]: a node in this process that answers from anything that implements [`Answers`], over TCP or in
//!   memory, at a pace that is chosen, with faults and lies where they are wanted.
//! * [`RecordedPeer`]: one that answers over TCP as that recorded node did.
//! * [`Scenario`]: peers, replies and their times as explicit numbers, for benchmarks that give the same result each time.
//! * [`Chain`]: what a node stores, learnt from a recording, or made up from a seed ([`SyntheticChain`]).
//! * [`LiveChain`]: a chain that grows and reorganizes while its nodes serve it.
//! * [`builder`]: what a version of Dash Core ([`ServerVersion`]) answers from a chain, to the byte.
//! * [`MockNetworkManager`]: a client's network whose peers are simulated; [`MemoryStorageManager`]: its storage.
//! * [`LinkModel`]: the timing of a peer as plain arithmetic.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use spv_testkit::{Fault, PeerProfile, RecordedPeer, Recording};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let recording = Arc::new(Recording::bundled()?);
//! let profile = PeerProfile {
//!     round_trip: Duration::from_millis(80),
//!     compute: Duration::from_millis(10),
//!     rate: Some(1_000_000),
//! };
//! let peer = RecordedPeer::builder(recording).profile(profile).fault(10.., Fault::Silent).spawn().await?;
//! println!("a node that falls silent listens at {}", peer.address());
//! # Ok(())
//! # }
//! ```

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
pub use recorded_peer::{RecordedAnswers, RecordedPeer, RecordedPeerBuilder};
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
