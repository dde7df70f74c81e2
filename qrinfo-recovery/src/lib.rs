//! What happens when a request fails.
