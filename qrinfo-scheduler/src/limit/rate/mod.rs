//! At most so many requests in a time.

mod layer;
mod pace;
mod service;

pub use self::{layer::RateLimitLayer, service::RateLimit};
