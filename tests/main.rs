//! What the gateway does, one module per behaviour. One binary, so that it links once.

mod support;

mod admin;
mod callers_that_leave;
mod clients;
mod configuration;
mod demo;
mod leaks;
mod refusals;
mod reload;
mod shutdown;
mod streaming;
mod tls;
mod transparency;
mod upstream_faults;
mod upstream_window;
mod wire;
