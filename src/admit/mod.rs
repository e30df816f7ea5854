//! Admission: may this call be made now? In the order of the path: the team's rate, the team's
//! concurrency, the body and its schema, the window of the organisation's key, and last, so that nothing
//! is held for a call that would be refused anyway, the credits.

pub mod concurrency;
pub mod body;
pub mod rate;
pub mod window;
pub mod budget;
