//! What users of such programs have run into, each kind with the test that shows what is right.

mod ends;
mod refusals_arrive;
mod small;
