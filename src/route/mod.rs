//! Routes: what is served, a row each. [`table`] says everything there is to know of a route, in the words of [`row`] and by
//! the [`rules`] of its body; [`target`] finds the row that a request is for; [`schema`] judges a body by a row's rules.
//! Nothing outside this folder matches on a route.

pub mod query;
pub mod thing;
pub mod rule;
pub mod row;
pub mod rules;
pub mod table;
mod closed;
pub mod schema;
pub mod target;

pub use self::row::{Class, Cost, Ids, Learns, Own, Row};
pub use self::table::{Route, Routes};
pub(crate) use self::target::PREFIX;
pub use self::target::Target;
pub use self::thing::Thing;
