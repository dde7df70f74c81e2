//! Which reply answers which request.
