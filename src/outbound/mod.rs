//! The one way out: connections to whatever origin, made, kept and driven by whoever waits for an answer.

mod tls;
pub mod origin;
mod tunnel;
pub mod connect;
pub(crate) mod connection;
pub mod ask;
pub mod pool;
