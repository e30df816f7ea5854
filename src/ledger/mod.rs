//! The ledger: every credit that was held, settled, given back, corrected or granted, durable before
//! anything depends on it, and never edited.
//!
//! Invariants, for every prefix of the entries:
//! - a call is held before it is ended, and ended once: settled or voided;
//! - nothing is sent upstream before its hold is here, at the configured durability;
//! - for every team and period, settled ≤ truly billed ≤ settled + in doubt.
//!
//! The rest of the program knows it by the traits [`Ledger`] and [`Reading`], operators' commands by [`Upkeep`], and
//! what is done to caller keys by [`KeyRegister`]; what
//! it is kept in shows in a folder of its own alone.

pub mod error;
pub mod facts;
pub mod fate;
pub mod past;
pub mod statement;
pub mod rows;
pub mod view;
pub mod reading;
mod latest;
mod export;
pub mod opening;
mod disk;
pub mod counts;
pub mod write;
pub mod reads;
pub mod answers;
pub mod keys;
pub mod entry;
pub mod turns;
pub mod journal;
pub mod file;
pub mod postgres;
pub mod home;

pub use self::answers::Answers;
pub use self::disk::{Room, room};
pub use self::error::LedgerError;
pub use self::facts::{
    Account, Adjustment, Aside, Basis, Booked, CallId, Command, Ending, JobEvent, NEVER_SENT, NewAsks,
    NewEnding, NewHold, NewJob, NewSaving, NewThing, NewWait, OpenHold, Retry,
};
pub use self::fate::Fate;
pub use self::keys::{CallerUse, Hand, KeyEvent, KeyRegister, Registered, RegisteredKey};
pub use self::opening::{KnownCall, KnownJob, KnownStage, LookBack, Opening, Total};
pub use self::past::{Past, PastAsks, PastCall, PastJob, minute};
pub use self::reading::{Reading, Upkeep};
pub use self::reads::Reads;
pub use self::rows::{Adjusted, Call, Changes, Charge, EnteredGrant, Found, Saving, Search, Span, Spend};
pub use self::statement::{Booking, Stated, StatedCall, StatedCorrection};
pub use self::turns::{Correction, Gateway, Kept, Look, NewTurn, Said, Standbys, Turn, Turns};
pub use self::view::{By, Slice, Sum, View, Viewed};
pub use self::write::{Ledger, Note, Receipt, Unavailable};
