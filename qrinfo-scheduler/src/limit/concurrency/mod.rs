//! At most so many requests at a time, the most urgent first.

mod future;
mod layer;
mod permits;
mod service;

pub use self::{future::LimitedFuture, layer::ConcurrencyLimitLayer, service::ConcurrencyLimit};
