//! The books: where the desk's state lives, and how what it gives is written down and ends, kept beside the ledger that they are
//! rebuilt from.

pub mod ending;
pub mod pace;
mod days;
mod learned;
pub mod queue_counts;
mod bill;
pub mod job;
pub mod owners;
mod state;
pub mod local;
pub mod jobs;
mod alarm;
pub mod place;
pub mod hold;
pub mod admission;
pub mod open;
