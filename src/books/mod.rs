//! The books: where the desk's state lives, and how what it gives is written down and ends, kept beside the ledger that they are
//! rebuilt from.

pub mod ending;
pub mod pace;
mod days;
pub(crate) mod learned;
pub mod queue_counts;
mod bill;
pub mod job;
pub mod owners;
mod step;
pub mod limits;
pub mod calls;
mod kept;
mod common;
mod state;
pub mod shared;
mod home;
pub mod keeper;
mod asked;
mod local;
mod saying;
pub mod jobs;
pub mod place;
pub mod hold;
pub mod admission;
mod turns;
pub mod open;
