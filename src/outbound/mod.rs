//! The one way out: connections to whatever origin, made, kept and driven by whoever waits for an answer.

pub mod ask;
pub mod connect;
pub(crate) mod connection;
pub mod origin;
pub mod pool;
mod tls;
