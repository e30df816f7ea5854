//! The answer's body on its way to the caller: the upstream's frames as they are. Each wrapper does one thing; from the
//! inside out, the connection is driven, what is ready together is joined, the key is masked, the meter looks and the record ends, a caller that leaves
//! hands the rest to the drain, and a break is told once what came before it is written.

pub mod error;
pub(super) mod driven;
pub(super) mod joined;
pub(super) mod cleared;
pub(super) mod told;
pub(super) mod read_on;
pub mod late;

use hyper::body::Incoming;

use self::cleared::Cleared;
use self::driven::{Driven, Lent};
use self::error::BodyError;
use self::joined::Joined;
use self::late::Late;
use self::read_on::ReadOn;

/// The body that is handed to the server. Whatever ends it ends the record, exactly once: its last frame, an error, or
/// being dropped, which is a caller that left.
pub type AnswerBody<C> = Box<Late<ReadOn<Cleared<Joined<Driven<Incoming, Lent<C>>>>>, BodyError>>;
