//! One Dash peer over TCP.
