use qrinfo_core::{Attempt, AttemptErrorKind, AttemptResult, PeerId, RequestId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{Rate, Window};

/// A message from a service, a future or a handle to the driver.
#[derive(Debug)]
pub(super) enum Command {
    Submit(Box<Submission>),
    Cancel(RequestId, u64),
    SetCap(usize),
    SetRate(Option<Rate>),
    SetPeerRate(Option<Rate>),
    SetWindow(Option<Window>),
    Ban(PeerId, AttemptErrorKind),
    Shutdown,
}

/// A request on its way to the driver.
#[derive(Debug)]
pub(super) struct Submission {
    /// Tells this call from a later one with the same request id.
    pub(super) call: u64,
    pub(super) attempt: Attempt,
    pub(super) respond: oneshot::Sender<AttemptResult>,
    pub(super) permit: OwnedSemaphorePermit,
}
