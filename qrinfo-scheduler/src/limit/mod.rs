//! The scheduler's limits as layers of their own, for other stacks.

mod below;
mod future;
mod gate;
mod layer;
mod rule;
mod seat;
mod service;

pub use self::{
    future::LimitedFuture,
    layer::{ConcurrencyLimitLayer, RateLimitLayer},
    service::Limited,
};
