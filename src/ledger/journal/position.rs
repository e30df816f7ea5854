//! Places in the journal, and how far it has been merged.

/// A place between two frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Counts the turns from one file to the other.
    pub generation: u64,
    /// Bytes from the beginning of the file.
    pub offset: u64,
}

/// What the database says of its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The ledger's identity, drawn when it was made; its journal carries it too.
    pub ledger: u64,
    /// How far the journal has been merged.
    pub merged: Position,
}

/// Entries that are in the journal and not in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmerged {
    /// The entries, one behind the other.
    pub entries: Vec<u8>,
    /// Where the last of them ends in the journal.
    pub end: Position,
}
