//! Retries, charged once: a call that is made again is given the answer of the first.
//!
//! A caller names a call by an `Idempotency-Key`; its copies join it while it is under way, from its first byte, and are
//! replayed it when it is over. Without a key, the retry of an OpenAI SDK takes over the call that it repeats, where nobody
//! has received any of that one's answer. Whatever may have been paid for is never made again; what came to nothing is.
//!
//! A call without a key goes its way as if this were not here: no list, no copy, no lock.

mod asked;
mod room;
mod wakers;
mod recording;
mod reader;
mod keys;
mod orphans;
mod reads;
mod copy;
pub(crate) mod seal;
mod kept;
mod archive;
mod retries;
pub mod stage;

#[cfg(test)]
pub(crate) use self::recording::Why;
pub use self::retries::Retries;
