//! Configuration of a Dash light client.
