use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use qrinfo_core::wire::frame::{Command, Frame};
use tokio::time::{Instant, Sleep, sleep};

/// The time without a byte after which an idle node is woken, and after which it is woken again.
const PATIENCE: Duration = Duration::from_millis(150);

/// Pings that wake a node, for each message that is sent.
const MOST: u8 = 3;

/// The payload of such a ping.
const NONCE: [u8; 8] = *b"wake up!";

/// A ping for a node that sleeps beside its answer.
///
/// An idle Dash Core may miss that an answer waits to be sent, and then sleeps for up to half a second (`net.cpp`: the
/// wakeup pipe is written only while its thread is known to sleep). Whatever arrives meanwhile wakes it.
#[derive(Debug, Default)]
pub(crate) struct Nudge {
    timer: Option<Pin<Box<Sleep>>>,
    /// Pings that may still be sent.
    left: u8,
}

// === impl Nudge ===

impl Nudge {
    /// A message is sent. An answer is expected.
    pub(crate) fn sent(&mut self) {
        self.left = MOST;
        self.start();
    }

    /// Something arrived: the node is awake.
    pub(crate) fn received(&mut self) {
        self.left = 0;
    }

    /// The ping that is due. The task is woken when one is.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Frame> {
        if self.poll_timer(cx).is_pending() {
            return None;
        }
        self.left -= 1;
        self.start();
        // The task is woken for the next one as well.
        let _ = self.poll_timer(cx);
        Some(Frame { command: Command::PING, payload: Bytes::from_static(&NONCE) })
    }

    /// Has the task woken when a ping is due.
    pub(crate) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) if self.left > 0 => timer.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }

    fn start(&mut self) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(Instant::now() + PATIENCE),
            None => self.timer = Some(Box::pin(sleep(PATIENCE))),
        }
    }
}
