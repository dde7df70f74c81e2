//! The scheduler's limits as layers of their own, for other stacks.

mod concurrency;
mod rate;

pub use self::{
    concurrency::{ConcurrencyLimit, ConcurrencyLimitLayer, LimitedFuture},
    rate::{RateLimit, RateLimitLayer},
};
