//! What users of such programs have run into, each kind with the test that shows what is right.

mod callers_behind_proxies;
mod ends;
mod money;
mod refusals_arrive;
mod small;
