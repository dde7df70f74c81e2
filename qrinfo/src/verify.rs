//! Verification of the replies of a sync, by the crate [`qrinfo_verify`].
//!
//! Two stages share the work. A [`CheckLayer`](qrinfo_verify::CheckLayer) around each peer's service needs only
//! headers: a reply that fails there is a failed attempt, and is asked of another peer like any other. A [`Verifier`]
//! needs the lists before: it takes replies as they are delivered, and one that fails there is
//! [taken back](crate::OrderedSync::reject_last).
//!
//! ```
//! use qrinfo::{AttemptService, OrderedSync, Peer, SequentialOptions, SequentialSync, verify::Verifier};
//! use qrinfo_core::{Network, QRInfoRequestSpec};
//! use qrinfo_verify::{CheckLayer, HeaderMap, Level, ListStage, VerifyError};
//! use std::sync::Arc;
//! use tower::Layer;
//!
//! # async fn example<S>(
//! #     headers: HeaderMap, plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>,
//! # ) -> Result<(), VerifyError>
//! # where S: AttemptService<Future: Send + 'static> + Clone + Send + 'static {
//! let headers = Arc::new(headers);
//! let (for_checks, for_lists) = (headers.clone(), headers);
//! let check = CheckLayer::new(move |hash| for_checks.find(hash));
//! let peers = peers.into_iter().map(|peer| peer.map(|service| check.layer(service))).collect();
//! let mut verifier = Verifier::new(ListStage::new(Network::Mainnet, Level::Roots), move |hash| for_lists.find(hash));
//!
//! let mut sync = SequentialSync::new(plan.clone(), peers, SequentialOptions::default());
//! while let Some(delivered) = sync.next().await {
//!     match verifier.take(plan[delivered.index].clone(), &delivered.reply).await {
//!         Ok(verified) => println!("{:?}, not proven: {:?}", verified.lists, verified.unproven),
//!         // It comes again, from another peer.
//!         Err(VerifyError::False(falsehood)) => sync.reject_last(falsehood),
//!         Err(missing) => return Err(missing),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::{
    panic,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use qrinfo_core::{BlockHash, Reply, Request};
use qrinfo_verify::{KnownBlock, ListStage, Verified, VerifyError};
use tokio::task::spawn_blocking;

/// A [`ListStage`] that works on tokio's blocking threads, as roots and signatures take their time. Clones share it.
#[derive(Clone, derive_more::Debug)]
#[debug("Verifier {{ level: {:?} }}", self.stage().level())]
pub struct Verifier {
    /// Shared with the thread that works.
    stage: Arc<Mutex<ListStage>>,
    headers: Arc<Headers>,
}

type Headers = dyn Fn(&BlockHash) -> Option<KnownBlock> + Send + Sync;

// === impl Verifier ===

impl Verifier {
    /// Verifies against these headers, which answer for the blocks of the best chain as it is at the time.
    pub fn new(stage: ListStage, headers: impl Fn(&BlockHash) -> Option<KnownBlock> + Send + Sync + 'static) -> Self {
        Self { stage: Arc::new(Mutex::new(stage)), headers: Arc::new(headers) }
    }

    /// Takes the next reply of the plan, as [`ListStage::apply`] does.
    ///
    /// When it is dropped before its end, the reply is taken or not: take it again.
    ///
    /// # Errors
    /// Those of [`ListStage::apply`], which leave the stage as it was.
    pub async fn take(&mut self, request: impl Into<Request>, reply: &Reply) -> Result<Verified, VerifyError> {
        let (stage, headers) = (self.stage.clone(), self.headers.clone());
        // The parts of a reply are slices of what was received: a copy of it copies little.
        let (request, reply) = (request.into(), reply.clone());
        let taken = spawn_blocking(move || lock(&stage).apply(&request, &reply, |hash| headers(hash))).await;
        match taken.map_err(|error| error.try_into_panic()) {
            Ok(taken) => taken,
            // The caller's headers panicked.
            Err(Ok(panicked)) => panic::resume_unwind(panicked),
            // The runtime is shutting down, and drops this future as well.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    /// The stage, with the lists so far. No reply is taken while the guard lives.
    pub fn stage(&self) -> MutexGuard<'_, ListStage> {
        lock(&self.stage)
    }
}

/// Locks the stage. A panic of a holder leaves it intact: the stage takes a reply over at the end, or not at all.
fn lock(stage: &Mutex<ListStage>) -> MutexGuard<'_, ListStage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}
