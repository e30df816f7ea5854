//! Admission: may this call be made now? In the order of the path: the team's rate, the team's concurrency, the body and its
//! rules, and last, so that nothing is taken for a call that would be refused anyway, the desk: a place in the window of the
//! organisation's key and the credits, both or neither.

pub mod concurrency;
pub mod body;
pub mod rate;
mod patience;
pub(crate) mod credits_max;
pub mod desk;
