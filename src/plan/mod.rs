//! What a configuration would have made of what was asked: calls of the past, replayed through a desk with other limits.
//!
//! The ledger knows every call that was held: when it came, whose it was, how long it waited and ran, and what it cost. It comes
//! again at the same moment, by the same key, and runs as long. Calls that were refused, and those that cost nothing, are known as
//! numbers by team, route, code and minute, with the seconds of it in which some came. They are asks, and come again as asks:
//!
//! - What was refused for a limit came at a moment at which that limit was in the way. So it is held against the limits of the
//!   new configuration behind every call of its second, and is refused where one of them is in the way. What is refused nowhere
//!   asks in earnest in the second that follows, and runs and costs as the team's calls of its route usually do.
//! - What was refused for what it said is refused again, and what cost nothing takes its place in the window.
//!
//! So with the configuration that was in force, what comes out is nearly what was; and because that is known, the difference can be
//! taken out ([`Plan::held_against`]). It is deterministic: nothing is drawn.
//!
//! Not known are how long a caller could wait (`x-gateway-max-wait`), which refusals were one call made again and again, and the
//! gateway's own requests; and the upstream is taken to serve whatever it is sent.

mod terms;
mod tally;
mod traffic;
mod outcome;
mod team;
mod arrivals;
mod desk;
mod replay;
mod told;

pub use self::outcome::{Course, Fares, OfTeam, Plan};
pub use self::replay::plan;
pub use self::tally::{Served, Waits};
pub use self::told::Teller;
pub use self::traffic::Traffic;
