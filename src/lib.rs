//! scaffold
pub mod clock;
pub mod credits;
pub mod meter;
pub mod secret;
