//! What the gateway does, one module per behaviour. One binary, so that it links once.

#![allow(
    clippy::disallowed_methods,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "tests look at real clocks and at whole numbers that Prometheus writes as floats"
)]
#![allow(missing_docs, reason = "test functions say what they show by their names")]

mod support;

mod admin;
mod backup;
mod budgets;
mod callers_that_leave;
mod clients;
mod commands;
mod configuration;
mod credits_page;
mod credits_page_in_a_browser;
mod credits_page_of_a_month;
mod demo;
mod documentation;
mod fair_queue;
mod fair_queue_for_real;
mod floods;
mod generated_heads;
mod house;
mod identity;
mod jobs;
mod journal;
mod keys;
mod leaks;
mod ledger;
mod metering;
mod monitoring;
mod notifications;
mod overload;
mod own_answers;
mod plan;
mod queue_traces;
mod reads_shared;
mod refusals;
mod reload;
mod replicas;
mod reported;
mod restart;
mod retries;
mod routes;
mod secrets;
mod security_promises;
mod shutdown;
mod silent_callers;
mod simulator;
mod slow_callers;
mod soak;
mod statements;
mod streaming;
mod tls;
mod tracing;
mod transparency;
mod upstream_faults;
mod upstream_states;
mod upstream_window;
mod wire_cases;
