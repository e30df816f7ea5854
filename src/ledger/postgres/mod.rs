//! The ledger in PostgreSQL: several gateways, and what they spend together. What the server says and is asked shows here
//! and nowhere else. A gateway never changes the schema: an operator does, first.

mod failure;
mod columns;
mod tls;
mod connect;
mod version;
mod blocking;
mod migrate;
mod sums;
mod changes;
mod recent;
mod past;
mod statement;
mod verify;
mod keys;
mod read;
mod upkeep;
mod answers;
mod opening;
mod open;
mod merge;
mod statements;
mod looked;
mod turn;
mod import;
mod gateways;

pub use self::gateways::{Books, Fenced, Listed, Standbys, Status, fence, status};
pub use self::import::{Moved, export, import};
pub use self::open::{answers, keys, migrate, reading, reads, registered_keys, try_out, upkeep};
pub use self::turn::turns;
