use qrinfo_core::PeerId;
use tokio::sync::mpsc;

use super::driver::Submission;
use crate::{Rate, Window};

/// Changes a running scheduler. Clones change the same one. A change reaches the driver when it is polled next; after
/// the driver's end it does nothing.
#[derive(Debug, Clone)]
pub struct SchedulerHandle {
    commands: mpsc::UnboundedSender<Command>,
}

/// What the driver is told.
#[derive(Debug)]
pub(super) enum Command {
    Submit(Box<Submission>),
    Cancel(u64),
    SetCap(usize),
    SetRate(Option<Rate>),
    SetPeerRate(Option<Rate>),
    SetWindow(Option<Window>),
    Blame(PeerId),
    Shutdown,
}

// === impl SchedulerHandle ===

impl SchedulerHandle {
    pub(super) fn new(commands: mpsc::UnboundedSender<Command>) -> Self {
        Self { commands }
    }

    /// How many requests may be [under way](crate::PeerHealth::under_way) at a time. One is sequential: each request
    /// waits for the one before, or for its peer to let it down. Zero pauses. What is under way stays under way.
    pub fn set_cap(&self, cap: usize) {
        self.send(Command::SetCap(cap));
    }

    /// How often anything is sent; `None` for no limit.
    pub fn set_rate(&self, rate: Option<Rate>) {
        self.send(Command::SetRate(rate));
    }

    /// How often anything is sent to one peer; `None` for no limit.
    pub fn set_peer_rate(&self, rate: Option<Rate>) {
        self.send(Command::SetPeerRate(rate));
    }

    /// Which attempts may be under way; `None` for all. The stage that delivers in order moves it on.
    pub fn set_window(&self, window: Option<Window>) {
        self.send(Command::SetWindow(window));
    }

    /// Gives a peer up because a reply of it is false. Its service is dropped; what it holds fails as
    /// [`PeerRemoved`](super::ScheduleError::PeerRemoved), to be asked elsewhere.
    pub fn blame(&self, peer: PeerId) {
        self.send(Command::Blame(peer));
    }

    /// Stops the driver. Whoever waits gets [`ScheduleError::Stopped`](super::ScheduleError::Stopped).
    pub fn shutdown(&self) {
        self.send(Command::Shutdown);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.commands.is_closed()
    }

    pub(super) fn send(&self, command: Command) {
        // Without a driver there is nobody to tell.
        let _ = self.commands.send(command);
    }
}
