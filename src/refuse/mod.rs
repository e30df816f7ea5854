//! Every refusal the gateway can give: its status, code, words and headers, and the one place that turns it into a
//! response.

mod code;
mod refusal;
mod message;
mod response;

pub use self::code::Code;
pub use self::refusal::{NotAllowed, Refusal};
