//! The ledger in a SQLite file with a journal beside it: one gateway, no server. What SQLite says and is asked shows here
//! and nowhere else.

mod failure;
mod columns;
mod names;
pub mod store;
mod insert;
mod merge;
mod asides;
mod jobs;
mod recent;
mod view;
mod past;
mod statement;
mod verify;
mod read;
mod upkeep;
mod answers;
mod keys;
mod identity;
pub mod writer;
mod open;
mod dump;
mod load;

pub use self::dump::{Cell, Contents, Dump, Rows, Summed, Sums, Table};
pub use self::identity::{Lock, lock};
pub use self::load::Load;
pub use self::open::{
    answers, backup, catch_up, keys, open, reading, reads, registered_keys, try_out, upkeep,
};
pub use self::store::Store;
pub use self::writer::SqliteLedger;
