//! Routes: what is served, a row each. [`table`] says everything there is to know of a route; [`target`] finds the row that
//! a request is for; [`schema`] judges a body by a row's rules. Nothing outside this folder matches on a route.

pub mod schema;
pub mod table;
pub mod target;

pub use self::table::{Class, Cost, Ids, Own, Route, Routes, Row};
pub use self::target::Target;
