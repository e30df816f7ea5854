//! What the process asks of the system first of all: to leave no core file and not to be looked into, because it will
//! have the organisation's key in its memory; and as many descriptors as it may have.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Gives up core files, and being looked into by other processes of its user (`PR_SET_DUMPABLE(2const)`). For good:
/// neither can be had back.
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

/// Raises the limit of open descriptors as far as it goes: what shells start with is too little for
/// `server.max_connections`. Returns what it is now; `None` is no limit.
pub(super) fn raise_descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where that is forbidden, it stays as it is.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current
}
