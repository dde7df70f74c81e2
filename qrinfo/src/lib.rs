//! Syncs Dash's rotated masternode quorums (DIP-24) from several peers.
//!
//! *A plan of requests goes in, replies come out in the order of the plan.*
//!
//! * [`plan`] chooses the blocks to ask for and their bases.
//! * [`SequentialSync`] asks one peer at a time, one request at a time: the default.
//! * [`ParallelSync`], behind the feature `parallel-qrinfo`, keeps several peers busy at once.
//!   [`OrderedSync`] is what both have in common.
//! * [`verify`], behind the feature of that name, proves replies against headers. The feature `legacy-bls` adds
//!   signatures of before v19, by a crate that has had no formal security review.
//! * [`follow`], behind the feature of that name, keeps headers, lists and quorums at the tip for as long as it runs.
//! * [`book`], behind the feature `verify`, answers for quorums, masternodes and locks at the tip, from any thread.
//! * The feature `metrics` counts for a recorder of the `metrics` facade.
//! * [`connect`], behind the feature `tcp`, makes a peer out of an address. Any other `tower` service that takes an
//!   [`Attempt`](qrinfo_core::Attempt) is a peer as well.
//! * [`network`] makes peers out of a client's own network stack.
//! * [`MasternodeSyncManager`] and [`MessageHandler`], behind the feature `config`, are dash-spv's, above it. [`config`]
//!   maps a client's settings to those of this library.
//!
//! `tcp` and `config` are on by default. A client with a stack and settings of its own turns them off.
//!
//! The sequential run works only while [`next`](SequentialSync::next) is awaited, the parallel one in the background as
//! far as its window allows. Dropping either cancels what is in flight. Both end in the same typed [`SyncReport`]: it
//! calls a sync complete only if every request was answered.

// The documentation is that of all features.
#![cfg_attr(
    not(all(
        feature = "config",
        feature = "follow",
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
    probe::{ProbeError, first_answerable_cycle},
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
