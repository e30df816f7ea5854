//! An authenticating, metering gateway in front of the Mavera video-analysis chat API.
//!
//! ```text
//!  caller ─► server ─► answer ─► head ─► identify ─► admit ──────────► inject ─► forward ─► upstream
//!            accept    record    route   whose       rate · concurrency   swap     pooled      │
//!            TLS       refusal   shape   key is      body · chat schema   the key  HTTP/1.1    │
//!            h1, h2    → words           this?       window · credits                          │
//!  caller ◄─ record ◄─────────────────── meter: look at each frame, change none ◄──────────────┘
//!            one line and one set of metrics per request
//! ```
//!
//! Modules in three groups: what stands around the path of a request, the path itself and what it runs on, and the
//! nouns that all of it shares.

pub mod admin;
pub mod config;
pub mod gateway;
pub mod server;

pub mod admit;
pub mod answer;
pub mod arrival;
pub mod books;
pub mod forward;
pub mod head;
pub mod identify;
pub mod inject;
pub mod key;
pub mod ledger;
pub mod limit;
pub mod live;
pub mod mask;
pub mod meter;
pub mod outbound;
pub mod own;
pub mod record;
pub mod refuse;
pub mod route;
pub mod routing;
pub mod stage;
pub mod trace;
pub mod usage;

pub mod clock;
pub mod credits;
pub mod log;
pub mod metrics;
pub mod secret;

pub mod cli;
#[cfg(feature = "sim")]
pub mod sim;
