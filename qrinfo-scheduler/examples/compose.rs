//! A stack of single parts for a client that has its own peers: a rate and a concurrency limit of this crate, tower's
//! own timeout, and a service that has none of them.
//!
//! `cargo run -p qrinfo-scheduler --example compose`

use std::{convert::Infallible, time::Duration};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, RequestPriority};
use qrinfo_scheduler::{ConcurrencyLimitLayer, Rate, RateLimitLayer};
use tokio::time;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn, timeout::TimeoutLayer};

/// A service of another project: it takes a block hash, gives bytes, and is slow now and then.
async fn foreign(block: BlockHash) -> Result<Vec<u8>, Infallible> {
    let [first, ..] = *block.as_bytes();
    time::sleep(Duration::from_millis(if first == 5 { 5_000 } else { 100 })).await;
    Ok(vec![first; 100])
}

fn block(attempt: Attempt) -> BlockHash {
    match attempt.request {
        qrinfo_core::Request::MnListDiff(spec) => spec.block_hash,
        qrinfo_core::Request::QrInfo(spec) => spec.block_hash,
    }
}

/// The concurrency limit wants to tell congestion from other failures, so the timeout's error becomes an attempt's.
fn typed(error: BoxError) -> AttemptError {
    let kind =
        if error.is::<tower::timeout::error::Elapsed>() { AttemptErrorKind::Timeout } else { AttemptErrorKind::Local };
    AttemptError::new(kind).because(error)
}

#[allow(clippy::print_stdout)]
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let limit = ConcurrencyLimitLayer::adaptive(4);
    let service = ServiceBuilder::new()
        .layer(limit.clone())
        .layer(RateLimitLayer::new(Rate::per_second(100, 12)))
        .map_err(typed)
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .map_request(block)
        .service(service_fn(foreign));

    let requests = (0..12_u8).map(|id| {
        let spec =
            MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([id; 32]) };
        let priority = if id == 11 { RequestPriority::Critical } else { RequestPriority::Normal };
        let response = service.clone().oneshot(Attempt { priority, ..Attempt::new(u64::from(id), spec.into()) });
        let limit = limit.clone();
        async move {
            match response.await {
                Ok(bytes) => println!("{id:2}: {} bytes, {} at a time", bytes.len(), limit.limit()),
                Err(error) => println!("{id:2}: {error}, {} at a time", limit.limit()),
            }
        }
    });
    futures_util::future::join_all(requests).await;
}
