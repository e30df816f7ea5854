//! Turns of a gateway at a ledger that others write too: what it says in one, what becomes of it, and what others have said.

mod body;
mod outbox;
mod batch;
mod turner;
mod waits;
mod known;
mod retell;
mod steps;
mod settle;
mod told;
mod away;
pub mod start;
