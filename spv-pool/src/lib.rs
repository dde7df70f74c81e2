//! Selection of the Dash nodes to connect to, and a task that keeps a number of them connected.
//!
//! * [`Plan`] decides: which candidate is next, how many attempts at once, how long a node rests. It has no I/O and no
//!   clock.
//! * [`start`] runs a plan: a task that connects, hands out each connection as soon as it is ready ([`PoolEvents`]),
//!   and takes reports back ([`PoolHandle`], [`Place`]).
//! * Candidates come from the user, DNS seeds, [`shipped_peers`], the [`AddressBook`] of earlier runs, and the
//!   addresses that connected peers name.
//! * [`dialer`] connects by TCP, directly or through a SOCKS5 proxy. Any other transport is a function of the caller.
//!
//! A silent node delays nothing: attempts run side by side, and work starts with the first connection that is ready.
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use qrinfo_core::Network;
//! use spv_peer::PeerConfig;
//! use spv_pool::{Plan, PlanConfig, PoolEvent, Source, dialer, shipped_peers, start};
//!
//! # async fn example(unix: u64) {
//! let network = Network::Mainnet;
//! let now = tokio::time::Instant::now().into_std();
//! let mut plan = Plan::new(PlanConfig::new(network, fastrand::u64(..)), now, unix);
//! for peer in shipped_peers(network) {
//!     plan.add(peer, Source::Seed, now);
//! }
//! for seed in network.dns_seeds() {
//!     plan.add_host(format!("{seed}:{}", network.default_port()), Source::Seed);
//! }
//! let (pool, mut events) = start(plan, dialer(PeerConfig::new(network, 0), None));
//! while let Some(event) = events.next().await {
//!     match event {
//!         PoolEvent::Ready(place, connection) => {
//!             println!("{} is at {}", place.peer(), connection.start_height());
//!             pool.good(place.peer());
//!             // Keep `place` with the connection: dropping it makes room for another node.
//!         }
//!         PoolEvent::Failed(peer, error) => println!("{peer}: {error}"),
//!         PoolEvent::Unresolved(host, error) => println!("{host}: {error}"),
//!         PoolEvent::Exhausted => break,
//!     }
//! }
//! # }
//! ```

mod book;
mod dial;
mod gossip;
mod group;
mod handle;
mod plan;
mod pool;
mod seeds;

pub use book::AddressBook;
pub use dial::{Dial, dialer};
pub use group::NetworkGroup;
pub use handle::{Place, PoolHandle};
pub use plan::{Plan, PlanConfig, Source, Step};
pub use pool::{PoolEvent, PoolEvents, start};
pub use seeds::shipped_peers;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
