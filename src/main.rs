//! Arguments in, exit code out, and where memory comes from. Everything else is in the library.

use std::process::ExitCode;

/// A call takes and gives back a dozen pieces of more than a kibibyte, futures and buffers, and the system's allocator is slow at those.
/// SQLite, which is C, keeps to the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mavera_gateway::cli::main()
}
