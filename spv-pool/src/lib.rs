//! Selection of the Dash nodes to connect to, and a task that keeps a number of them connected.
//!
//! ```text
//!  named by the user ─┐
//!  address book ──────┤            250 ms each, side by side
//!  seeds ─────────────┼──► Plan ──► dialer ──► PoolEvent::Ready(place, connection)
//!  named by peers ────┘      ▲                                    │
//!                            └── good, banned, left ── PoolHandle, Place
//! ```
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
//! # Example
//!
//! ```no_run
//! use qrinfo_core::Network;
//! use spv_peer::PeerConfig;
//! use spv_pool::{Plan, PlanConfig, PoolEvent, Source, dialer, shipped_peers, start};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() {
//!     let network = Network::Mainnet;
//!     let now = tokio::time::Instant::now().into_std();
//!     let unix = 1_800_000_000; // the time in seconds since 1970
//!     let mut plan = Plan::new(PlanConfig::new(network, fastrand::u64(..)), now, unix);
//!     for peer in shipped_peers(network) {
//!         plan.add(peer, Source::Seed, now);
//!     }
//!     for seed in network.dns_seeds() {
//!         plan.add_host(format!("{seed}:{}", network.default_port()), Source::Seed);
//!     }
//!     let (pool, mut events) = start(plan, dialer(PeerConfig::new(network, 0), None));
//!     while let Some(event) = events.recv().await {
//!         match event {
//!             PoolEvent::Ready(place, connection) => {
//!                 println!("{} is at {}", place.peer(), connection.start_height());
//!                 pool.good(place.peer());
//!                 // Keep `place` with the connection: dropping it makes room for another node.
//!             }
//!             PoolEvent::Failed(peer, error) => println!("{peer}: {error}"),
//!             PoolEvent::Unresolved(host, error) => println!("{host}: {error}"),
//!             PoolEvent::Exhausted => break,
//!         }
//!     }
//! }
//! ```
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | none | | |
//!
//! # Errors
//!
//! No call fails: problems are events, and the pool goes on.
//!
//! | event | meaning | what to do |
//! |---|---|---|
//! | [`PoolEvent::Failed`] | the [`PeerError`](spv_peer::PeerError) of one node | nothing: it is tried again later |
//! | [`PoolEvent::Unresolved`] | a host name has no address | check the name or the resolver |
//! | [`PoolEvent::Exhausted`] | every candidate has failed | [add](PoolHandle::add) candidates, or wait |
//!
//! # Bounds
//!
//! * Connections: [`PlanConfig::target`], 8 by default. Attempts at once: four for each connection wanted.
//! * Backoff of a node that failed: 1 s, doubled up to 10 min; 24 h after a failure that would repeat.
//! * Candidates that peers named: 256 in all and 16 of one peer; they come last. Addresses of one host name: 64.
//! * Good peers that are remembered: the newest 64 of 30 days. They fill at most half of the places while there are
//!   seeds.
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`spv_peer`]: the connections. [`qrinfo_core`]: networks and peer names.
//! * [`spv-store`](https://docs.rs/spv-store): a place for the [`AddressBook`].
//! * `docs/glossary.md` in the repository: the terms of this project.

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
