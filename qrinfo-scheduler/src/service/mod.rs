//! The scheduler as a `tower` service over peers that join and leave.

mod command;
mod driver;
mod error;
mod future;
mod handle;
mod peer;
mod sending;
mod stats;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::PollSemaphore;
use tower::Service;

use self::command::{Command, Submission};
pub use self::{
    driver::{Driver, Peers},
    error::ScheduleError,
    future::ResponseFuture,
    handle::SchedulerHandle,
    peer::Peer,
    stats::SendStats,
};
use crate::Settings;

/// A `tower` service that sends each request to the peer that will be done with it first. Clones share the queue.
///
/// It is ready while fewer than [`Settings::capacity`] requests wait. Dropping a response future cancels the request;
/// a copy that was sent keeps its slot until its peer has answered.
///
/// Peers come from a [`Discover`](tower::discover::Discover) of [`Peer`]s: any service that takes an [`Attempt`].
/// Each sending has an [`Attempt::send`] of its own. A peer that [reports](Peer::with_events) its progress by that name
/// lets the scheduler see a stall as it happens; of one that does not, only the end is seen. No two requests that have
/// not ended may share an [`Attempt::id`].
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, PeerId};
/// use qrinfo_scheduler::{Peer, SchedulerService, Settings};
/// use tower::{Service, ServiceExt, discover::Change, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A peer that refuses everything.
/// let refuses = service_fn(|attempt: Attempt| async move {
///     Err::<Answer, _>(AttemptError::new(AttemptErrorKind::Refused))
/// });
/// let peer = PeerId::Address(([127, 0, 0, 1], 19899).into());
/// let peers = futures_util::stream::iter([Ok::<_, AttemptError>(Change::Insert(
///     peer,
///     Peer::new(refuses, 1_772, Duration::from_millis(50)),
/// ))]);
///
/// let (mut service, driver) = SchedulerService::new(peers, Settings::default());
/// let driver = tokio::spawn(driver);
/// let request = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
/// let error = service.ready().await?.call(Attempt::new(1, request.into())).await.unwrap_err();
/// assert_eq!((error.kind(), error.peer()), (AttemptErrorKind::Refused, Some(peer)));
///
/// drop(service);
/// driver.await??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SchedulerService {
    handle: SchedulerHandle,
    next_call: Arc<AtomicU64>,
    room: PollSemaphore,
    /// The queue slot of the next call.
    permit: Option<OwnedSemaphorePermit>,
}

// === impl SchedulerService ===

impl SchedulerService {
    /// A service and its driver. Spawn the driver: it owns the scheduler and the peers.
    ///
    /// The driver ends when the service and its handles are dropped and no caller waits for a reply, or by
    /// [`shutdown`](SchedulerHandle::shutdown).
    pub fn new<D>(discover: D, settings: Settings) -> (Self, Driver<D>)
    where
        D: Peers,
    {
        let room = Arc::new(Semaphore::new(settings.capacity.min(Semaphore::MAX_PERMITS)));
        let (driver, handle) = Driver::new(discover, room.clone(), settings);
        (Self { handle, next_call: Arc::default(), room: PollSemaphore::new(room), permit: None }, driver)
    }

    /// The handle that changes its settings and shows its ledger of peers.
    pub fn handle(&self) -> SchedulerHandle {
        self.handle.clone()
    }
}

impl Service<Attempt> for SchedulerService {
    type Response = Answer;
    type Error = AttemptError;
    type Future = ResponseFuture;

    /// Ready when the queue has room.
    ///
    /// # Errors
    /// [`Local`](AttemptErrorKind::Local) because of [`ScheduleError::Stopped`], once the driver has ended.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        if self.handle.is_stopped() {
            return Poll::Ready(Err(ScheduleError::Stopped.into()));
        }
        if self.permit.is_none() {
            self.permit = ready!(self.room.poll_acquire(cx));
        }
        Poll::Ready(match self.permit {
            Some(_) => Ok(()),
            None => Err(ScheduleError::Stopped.into()),
        })
    }

    /// Sends it when its turn comes. Called without readiness it fails as
    /// [`Overloaded`](AttemptErrorKind::Overloaded).
    fn call(&mut self, attempt: Attempt) -> ResponseFuture {
        let Some(permit) = self.permit.take() else {
            return ResponseFuture::failed(AttemptError::new(AttemptErrorKind::Overloaded));
        };
        let call = self.next_call.fetch_add(1, Ordering::Relaxed);
        let (respond, mut response) = oneshot::channel();
        let id = attempt.id;
        self.handle.send(Command::Submit(Box::new(Submission { call, attempt, respond, permit })));
        // A driver that ends just now may leave the request in the channel, where it would wait for ever.
        if self.handle.is_stopped() {
            response.close();
        }
        ResponseFuture::waiting((id, call), response, self.handle.clone())
    }
}

impl Clone for SchedulerService {
    /// The clone has to be polled ready itself.
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), next_call: self.next_call.clone(), room: self.room.clone(), permit: None }
    }
}
