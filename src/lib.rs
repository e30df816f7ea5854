//! An authenticating, metering gateway in front of the Mavera video-analysis chat API.
//!
//! ```text
//!  caller ─► server ─► answer ─► routing ─► identify ─► admit ──────────► inject ─► forward ─► upstream
//!            accept    record    a row of   whose       rate · concurrency   swap     pooled      │
//!            TLS       refusal   the table  key is      body · its rules     the key  HTTP/1.1    │
//!            h1, h2    → words              this?       desk: turn, place, credits                │
//!  caller ◄─ record ◄────────────────────── meter: look at each frame, change none ◄──────────────┘
//!            one line and one set of metrics per request
//! ```
//!
//! The modules stand here from the ground up, and each uses only those above it in this list; `tests/house.rs` holds
//! every path against it.

// The ground: time, amounts, secrets, words.
pub mod clock;
pub mod credits;
pub mod digest;
pub mod secret;
pub mod mask;
pub mod key;
mod pem;
pub mod shutdown;
pub mod unread;
pub mod metrics;
pub mod log;
pub mod refuse;

// Mechanisms: what limits, who is let through, what reads a cost, and what a token must be.
pub mod limit;
pub mod desk;
pub mod meter;
pub mod token;

// From text to what is valid.
pub mod route;
pub mod config;

// Durable.
pub mod ledger;

// Outwards, and who vouches for callers there.
pub mod outbound;
pub mod trace;
pub mod head;
pub mod identity;
pub mod peer;

// What is told of a call, and what is in force.
pub mod books;
pub mod record;
pub mod live;
pub mod plan;

// The stages of a request.
pub mod arrival;
pub mod stage;
pub mod routing;
pub mod identify;
pub mod admit;
pub mod inject;
pub mod forward;

// Around them.
pub mod retry;
pub mod keyring;
pub mod usage;
pub mod jobs;
pub mod notify;
pub mod answer;
pub mod own;
pub mod gateway;
pub mod admin;
pub mod server;
pub mod cli;

#[cfg(test)]
mod transparent;
