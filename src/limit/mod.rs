//! A team's own limits, without the stages that ask them: its rate, and its calls in flight; and those of an address. What
//! teams share is the desk's.

pub mod by_address;
pub mod in_flight;
pub mod rate;
