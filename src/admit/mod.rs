//! Admission: may this call be made now? In the order of the path: the team's rate, the team's
//! concurrency, the body and its schema, and last, so that no place in it is wasted, the window of
//! the organisation's key.

pub mod body;
pub mod chat;
pub mod concurrency;
pub mod rate;
pub mod window;
