use qrinfo_core::AttemptResult;
use tokio::sync::oneshot;

/// The sender of a request's end: once, a reply or a typed error.
pub type ReplySender = oneshot::Sender<AttemptResult>;

/// The receiver of a request's end. Dropping it gives up the reply.
pub type ReplyReceiver = oneshot::Receiver<AttemptResult>;
