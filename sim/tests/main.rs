//! What the simulator does, one module per behaviour.

#![allow(missing_docs, reason = "test functions say what they show by their names")]

mod direct;
mod endpoints;
mod jobs;
mod model;
mod quirks;
