//! Syncs Dash's rotated masternode quorums (DIP-24) from several peers: a plan of requests goes in, proven replies come
//! out in the order of the plan.
//!
//! ```text
//!  headers ──► Planner ──► [getqrinfo, getqrinfo, ...] ──► SequentialSync ──► Delivered, in order ──► Verifier
//!                                                     or ParallelSync                          proven lists, quorums
//!                                                           │  ▲
//!                                                           ▼  │
//!                                                     Peer, Peer, Peer: connect, network, or any tower service
//! ```
//!
//! | item | feature | |
//! |---|---|---|
//! | [`plan`] | | the blocks to ask for, and their bases |
//! | [`SequentialSync`] | | asks one peer at a time, one request at a time: the default |
//! | [`ParallelSync`] | `parallel-qrinfo` | keeps several peers busy at once; [`OrderedSync`] is the trait of both |
//! | [`verify`] | `verify` | proofs of replies against headers |
//! | [`follow`] | `follow` | keeps headers, lists and quorums at the tip for as long as it runs |
//! | [`book`] | `verify` | answers about quorums, masternodes and locks at the tip, from any thread |
//! | [`connect`] | `tcp` | a peer out of an address |
//! | [`Peer::new`] | | a peer out of any `tower` service that takes an [`Attempt`](qrinfo_core::Attempt) |
//! | [`network`] | | peers out of a client's own network stack |
//! | [`MasternodeSyncManager`], [`MessageHandler`] | `config` | dash-spv's managers, above this library |
//!
//! The sequential run works only while [`next`](OrderedSync::next) is awaited, the parallel one in the background as
//! far as its window allows. Dropping either cancels what is in flight. Both end in the same typed [`SyncReport`]: it
//! calls a sync complete only if every request was answered.
//!
//! # The newest quorums in twenty lines
//!
//! With the features `tcp` and `verify`, a client that has headers:
//!
#![cfg_attr(all(feature = "tcp", feature = "verify"), doc = "```")]
#![cfg_attr(not(all(feature = "tcp", feature = "verify")), doc = "```ignore")]
//! use std::{error::Error, net::SocketAddr, sync::Arc};
//! use qrinfo::{OrderedSync, SequentialOptions, SequentialSync, connect, plan::Planner, verify::Verifier};
//! use qrinfo_core::{BlockHash, Network};
//! use qrinfo_correlate::CorrelatorConfig;
//! use qrinfo_verify::{HeaderMap, Level, ListStage, Quorums, VerifyError};
//! use spv_peer::PeerConfig;
//!
//! /// The quorums at the tip, proven. `headers` and `hash_at` are the client's own headers, up to `tip`.
//! async fn newest_quorums(
//!     (network, tip): (Network, u32),
//!     nodes: &[SocketAddr],
//!     headers: Arc<HeaderMap>,
//!     hash_at: impl Fn(u32) -> Option<BlockHash>,
//! ) -> Result<Quorums, Box<dyn Error + Send + Sync>> {
//!     let mut peers = Vec::new();
//!     for (nonce, node) in (1..).zip(nodes) {
//!         // A node that cannot be reached is left out.
//!         peers.extend(connect(*node, &PeerConfig::new(network, nonce), CorrelatorConfig::default()).await);
//!     }
//!     let plan = Planner::new(network, tip).plan(tip, tip, hash_at)?;
//!     let known = headers.clone();
//!     let mut verifier = Verifier::new(ListStage::new(network, Level::Full), move |hash| known.find(hash));
//!     let mut sync = SequentialSync::new(plan.clone(), peers, SequentialOptions::default());
//!     while let Some(delivered) = sync.next().await {
//!         let lists = match verifier.take(plan[delivered.index].clone(), &delivered.reply).await {
//!             Ok(verified) => [verified.lists, verified.tip],
//!             // A lie: the request goes to another peer, and its reply comes here.
//!             Err(VerifyError::False(why)) => { sync.reject_last(why); continue }
//!             Err(missing) => return Err(missing.into()),
//!         };
//!         let lists: Vec<_> = lists.into_iter().flatten().collect();
//!         let mut quorums = Quorums::starting_at(network, lists.first().ok_or("no lists")?.height());
//!         lists.iter().for_each(|lists| quorums.learn(lists, |hash| headers.find(hash)));
//!         return Ok(quorums);
//!     }
//!     Err(sync.into_report().outcome.to_string().into())
//! }
//! # use spv_testkit::{Chain, Recording, SimulatedPeer};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
//! #     let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
//! #     let mut headers = HeaderMap::default();
//! #     for (height, header) in (0..).zip(chain.headers()) {
//! #         let hash = chain.block(height).ok_or("no block")?.hash;
//! #         headers.insert(height, hash, &qrinfo_core::BlockHeader::from_bytes(*header));
//! #     }
//! #     let node = SimulatedPeer::builder(chain.clone()).build();
//! #     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! #     let address = listener.local_addr()?;
//! #     tokio::spawn(async move {
//! #         let (mut client, _) = listener.accept().await?;
//! #         tokio::io::copy_bidirectional(&mut client, &mut node.connect()).await
//! #     });
//! #     let (at, hash_at) = ((chain.network(), chain.tip()), |height| chain.block(height).map(|block| block.hash));
//! #     let quorums = newest_quorums(at, &[address], Arc::new(headers), hash_at).await?;
//! #     assert_eq!(*quorums.covered().end(), chain.tip());
//! #     Ok(())
//! # }
//! ```
//!
//! [`Quorums`](qrinfo_verify::Quorums) verifies InstantSend locks and ChainLocks. A client without headers takes those
//! of `spv-headers`, as the command `qrinfo sync` of the repository does, or runs that command.
//!
//! # One crate in your client
//!
//! | your client has | take | begin with |
//! |---|---|---|
//! | replies, and its own list engine | [`qrinfo_verify`] | `ListStage::apply` before the engine takes a reply |
//! | one connection for each peer | [`qrinfo_correlate`] | `PeerService` over the connection |
//! | a service for each peer | [`qrinfo_scheduler`] | `SchedulerService` over the services |
//! | one service that fails at times | [`qrinfo_recovery`] | `RecoveryLayer` around it |
//! | a network, but no plan | this crate, without default features | [`network`], then one of the syncs |
//! | dash-spv's settings | [`spv_config`] | `ClientConfig` inside its own file |
//!
//! `examples/adopters` in the repository has a program of at most 60 lines for each, and `docs/adopting.md` walks
//! through three adoptions. Without default features this crate is 44 packages, itself included.
//!
//! # A peer that lies
//!
//! 1. A reply that does not fit its request, or contradicts the headers, is a failed attempt of kind
//!    [`False`](qrinfo_core::AttemptErrorKind::False): [`PeerService`](qrinfo_correlate::PeerService) and
//!    [`CheckLayer`](qrinfo_verify::CheckLayer) see it. The peer is not asked again, and the request goes to another
//!    peer.
//! 2. A lie that only the lists show is found by the [`Verifier`](verify::Verifier), which is left unchanged. The
//!    caller calls [`reject_last`](OrderedSync::reject_last): the peer is not asked again, and the same place of the
//!    plan is delivered again, from another peer, before any later one.
//! 3. The lie is in [`events`](OrderedSync::events) and in [`SyncReport::lost`]. If no peer is left that tells the
//!    truth, the request is in the report as missing, and the sync is not complete.
//!
//! A reply that cannot be judged, because *our* headers lack a block, is [`Missing`](qrinfo_verify::Missing) and blames
//! no peer.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `tcp` | yes | [`connect`], over connections of `spv-peer` |
//! | `config` | yes | settings of `spv-config`, dash-spv's managers; [`config`] maps the settings |
//! | `parallel-qrinfo` | | [`ParallelSync`]: several peers at once, the scheduler, retries in the background |
//! | `verify` | | [`verify`]: proofs of every reply; [`book`]: the quorums at the tip |
//! | `follow` | | [`follow`]: a task that stays at the tip, with a pool and a store; [`nodes`]: its ledger of nodes |
//! | `legacy-bls` | | signatures of before v19, by a crate that has had no formal security review |
//! | `metrics` | | [`metrics`]: figures for the `metrics` facade |
//!
//! # Errors
//!
//! | error | what to do |
//! |---|---|
//! | [`PlanError`](plan::PlanError) | sync more headers, or choose other cycles; it says which |
//! | [`SyncOutcome`] other than complete | each [`Missing`] request has its reason, and the failures at each peer |
//! | [`VerifyError`](qrinfo_verify::VerifyError) | `False`: reject the reply; `Missing`: sync headers |
//! | [`ProbeError`] | connect to other peers, or sync more headers |
//! | [`PeerError`](spv_peer::PeerError) | the address is no usable node; connect to another one |
//!
//! # Bounds
//!
//! * Requests in flight: one in a sequential sync, [`max_concurrent`](ParallelOptions::max_concurrent) in a parallel
//!   one (3 by default), at most 64 at one peer.
//! * Replies that wait for their turn, with those in flight: [`window_bytes`](ParallelOptions::window_bytes), 768 KiB
//!   by default. A reply that does not fit is dropped and asked for again.
//! * One request: five attempts, ten minutes after its first failure
//!   ([`RetryPolicy`](qrinfo_core::retry::RetryPolicy)). A sync that no peer answers ends when its first request has
//!   used up its attempts. The whole sync has no limit unless `total_timeout` sets one.
//! * Events that wait for a slow listener: 1,024.
//! * A [`book`]: the masternodes of the newest 64 lists, the active sets of the last eight cycles, and the keys of
//!   quorums for 64 cycles after they were replaced.
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`qrinfo_core`], [`qrinfo_correlate`], [`qrinfo_scheduler`], [`qrinfo_recovery`], [`qrinfo_verify`], [`spv_peer`],
//!   [`spv_config`]: the parts.
//! * [`spv-headers`](https://docs.rs/spv-headers), [`spv-pool`](https://docs.rs/spv-pool),
//!   [`spv-store`](https://docs.rs/spv-store): headers, connections and storage for a client that has none.
//! * `docs/design.md` in the repository: the shape, and the reasons. `docs/glossary.md`: the terms.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The documentation is that of all features.
#![cfg_attr(
    not(all(
        feature = "config",
        feature = "follow",
        feature = "metrics",
        feature = "parallel-qrinfo",
        feature = "tcp",
        feature = "verify"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

#[cfg(feature = "verify")]
pub mod book;
pub mod dash_spv;
#[cfg(feature = "follow")]
pub mod follow;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "follow")]
pub mod nodes;
mod peer;
pub mod plan;
mod probe;
mod run;
#[cfg(feature = "verify")]
pub mod verify;

#[cfg(feature = "config")]
pub use self::dash_spv::*;
#[cfg(feature = "tcp")]
pub use self::peer::{adopt, connect};
#[cfg(feature = "parallel-qrinfo")]
pub use self::run::{ParallelOptions, ParallelSync};
pub use self::{
    dash_spv::network,
    peer::Peer,
    probe::{ProbeError, first_answerable_cycle, is_answerable},
    run::{
        Delivered, LostPeer, Missing, OrderedSync, PlannedRequest, SequentialOptions, SequentialSync, SyncEvent,
        SyncOutcome, SyncReport, SyncStats,
    },
};
pub use qrinfo_core::AttemptService;

#[cfg(all(doctest, feature = "parallel-qrinfo", feature = "verify"))]
#[doc = include_str!("../../docs/adopting.md")]
struct Adopting;

/// The examples of the README.
#[cfg(all(doctest, feature = "tcp"))]
#[doc = include_str!("../README.md")]
mod readme {}
