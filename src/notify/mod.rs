//! Word that gets out: what operators have to know, as one signed POST when it begins and one when it is over.
//!
//! Nothing is told from where it happens: every few seconds `watch` looks how things stand, and what goes on and has not
//! been told is told (`outstanding`). So nothing waits for a receiver, and one that is away is told of what still goes on. After a
//! restart what goes on is told once more, under the same id.

mod condition;
mod outstanding;
mod message;
mod look;
mod watch;

pub use self::watch::watch;
