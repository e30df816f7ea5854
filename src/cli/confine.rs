//! What a process with the organisation's key in its memory gives up first of all: leaving a core file, and being
//! looked into by other processes of its user (`PR_SET_DUMPABLE(2const)`).

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Gives both up, for good: neither can be had back.
pub(super) fn confine() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // The limit too, for systems that hand every core to a collector. Where it is zero already, a filter of system
    // calls may forbid to set it.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if getrlimit(Resource::Core) != none {
        setrlimit(Resource::Core, none)?;
    }
    Ok(())
}
