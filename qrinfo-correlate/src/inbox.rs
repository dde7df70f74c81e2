//! Where the requests of a service arrive, and how it is told that nobody takes them any more.

use std::sync::Arc;

use qrinfo_core::Attempt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{Closed, Ticket, manager::ReplySender, service::Shared};

/// A driver's end of its services.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// The slots bound it: a submission carries one, and a cancellation follows a submission. It ends when nobody is
    /// left who could ask, wait or cancel.
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) gate: Gate,
}

/// What a service or its future asks of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Submit(Box<Submission>),
    Cancel(Ticket),
}

#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) ticket: Ticket,
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
        // Before anyone is woken.
        self.shared.set_ended(why);
        self.slots.close();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close(Closed::DriverDropped);
    }
}
