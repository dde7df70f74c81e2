//! The channel from services to their driver.

use std::sync::Arc;

use qrinfo_core::{Attempt, SendId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::shared::Shared;
use crate::{error::Closed, reply::ReplySender};

/// A driver's end of its services.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Before the commands, and so dropped before them: a service looks at it after each submission, which it may have
    /// sent too late to be received or dropped.
    pub(crate) gate: Gate,
    /// The slots bound its length: a submission carries one, and a cancellation follows a submission. It ends when no
    /// service and no future is left.
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
}

/// A message from a service or its future to the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Submit(Box<Submission>),
    Cancel(SendId),
}

#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) send: SendId,
    pub(crate) attempt: Attempt,
    pub(crate) respond: ReplySender,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Turns services away once it is closed. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) shared: Arc<Shared>,
}

// === impl Gate ===

impl Gate {
    /// The first reason stands.
    pub(crate) fn close(&self, why: Closed) {
        // Before closing the slots wakes the services. The first reason stands.
        let _ = self.shared.ended.set(why);
        self.slots.close();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close(Closed::DriverDropped);
    }
}
