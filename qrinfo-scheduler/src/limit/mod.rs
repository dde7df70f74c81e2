//! The scheduler's limits as layers of their own, for other stacks.

mod gate;
mod layer;
mod rule;
mod service;

pub use self::{
    layer::{ConcurrencyLimitLayer, RateLimitLayer},
    service::Limited,
};
