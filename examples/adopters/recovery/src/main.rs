//! Retries around a service that has an error type of its own.
use std::{
    fmt,
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, PeerId, Reply};
use qrinfo_core::{Timing, message::MnListDiff};
use qrinfo_recovery::{RecoveryLayer, RecoverySettings};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// The failures of the client's own network.
#[derive(Debug)]
enum NetworkFault {
    TimedOut,
    HungUp,
}

impl fmt::Display for NetworkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client's network says {self:?}")
    }
}

impl std::error::Error for NetworkFault {}

fn typed(fault: NetworkFault) -> AttemptError {
    let kind = match fault {
        NetworkFault::TimedOut => AttemptErrorKind::Timeout,
        NetworkFault::HungUp => AttemptErrorKind::Disconnected,
    };
    AttemptError::new(kind).because(fault)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let calls = Arc::new(AtomicU32::new(0));
    let foreign = service_fn(move |_: Attempt| {
        let calls = calls.clone();
        async move {
            match calls.fetch_add(1, Ordering::Relaxed) {
                0 => Err(NetworkFault::HungUp),
                1 => Err(NetworkFault::TimedOut),
                _ => Ok(answer()),
            }
        }
    });
    let layer = RecoveryLayer::new(RecoverySettings::default()).on_event(|event| println!("{event:?}"));
    let service = ServiceBuilder::new().layer(layer).map_err(typed).service(foreign);
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
    let answer = service.oneshot(Attempt::new(1, spec.into())).await.expect("the third call answers");
    println!("answered by {}", answer.timing.peer);
}

fn answer() -> Answer {
    let (peer, now) = (PeerId::Address(([203, 0, 113, 1], 9999).into()), Instant::now());
    let diff = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([3; 32]));
    let timing = Timing { peer, sent: now, head: None, first_byte: None, done: now, bytes: 500 };
    Answer { reply: Reply::MnListDiff(Box::new(diff)), timing }
}
