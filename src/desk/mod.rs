//! The desk that admits: who may send a call now, who waits, and whose turn is next. A place in the organisation's window,
//! what the upstream takes of a route at once and the credits of every budget that binds are given in one step or not at
//! all, and who waits has none of them.
//!
//! It is a value: no clock, no lock, no task and no ledger is in it. Whoever keeps one tells it the time with every question,
//! makes what it gave durable before the call goes on, and asks it again at [`Desk::next`].
//!
//! Two rules decide whose turn it is. A call whose team has nobody waiting and less than its share of the window in use is
//! let through at once, while a place is free. Everybody else waits, in the order of `turns`, and is let through evenly
//! spaced: a sliding window gives its places back in the bursts in which they were taken, and a backlog that took them so
//! would leave the next newcomer a minute to wait.

mod window;
mod accounts;
mod terms;
mod turns;
mod routes;
mod upstream;
mod state;
mod serve;
mod places;
mod look;
mod retold;
#[cfg(test)]
mod tests;

pub use self::accounts::{BookedOn, GRANT_DAYS, KEPT_DAYS};
pub use self::look::Look;
pub use self::retold::Retold;
pub use self::state::Desk;
pub use self::terms::{
    Ask, Cap, Granted, No, NoPlace, Outcome, Patience, Refused, Settings, Ticket, Verdict,
};
pub use self::turns::ACTIVE;
pub use self::upstream::{Change, Seen, State, Trouble};
pub use self::window::{ARRIVAL, GRACE, Moment, Said, TICK, Tick, WINDOW};
