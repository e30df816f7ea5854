//! The books: who may spend how much, what is held, and what is spent, kept beside the ledger that they are rebuilt from.

pub mod ending;
pub mod pace;
pub mod accounts;
pub mod hold;
pub mod open;
