//! What the fuzz targets hold the gateway against: readers written a second time, from the standards and not
//! from the gateway's sources, slow and plain.

pub mod json;
pub mod meter;
pub mod split;

/// A key of the right shape and plainly fake. The dictionaries spell it, so that inputs may hold it.
pub const KEY: &str = "mvra_live_plainlyfakekeyforfuzzing0000";
