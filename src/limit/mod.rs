//! The limits themselves, without the stages that ask them: a team's rate, its calls in flight, and the window of the
//! organisation's key.

pub mod in_flight;
pub mod rate;
pub mod window;
