//! What writer, merger and askers know of each other: what waits to be written, and what is under way.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashSet;

use super::asker::Asker;
use crate::ledger::facts::{CallId, Command};
use crate::ledger::journal::{Position, Unmerged};
use crate::ledger::write::Unavailable;

/// A command on its way to the journal.
pub(super) type Waiting = (Command, Option<Asker>);

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own reader")]
pub(super) struct State {
    pub(super) waiting: VecDeque<Waiting>,
    /// A group is being written, by the writer.
    pub(super) writing: bool,
    /// Or by an asker.
    pub(super) inline: bool,
    /// Askers that wait for the one that writes.
    pub(super) in_line: usize,
    /// One has waited for too long: others leave their holds to the writer.
    pub(super) avoided: bool,
    /// The journal could not be written when that was last tried.
    pub(super) failing: bool,
    /// Holds that were asked for and not refused, and have no ending yet: only those can be ended.
    pub(super) open: HashSet<CallId>,
    /// Somebody waits for a hold among what waits.
    pub(super) urgent: bool,
    /// Somebody waits for everything to be written.
    pub(super) flushing: bool,
    /// Written to the journal, and not taken by the merger.
    pub(super) unmerged: Unmerged,
    /// What the merger has taken and not brought into the database, in bytes.
    pub(super) merging: usize,
    /// How far the database is.
    pub(super) merged: Position,
    /// Somebody waits for everything to be in the database file itself.
    pub(super) closing: bool,
    /// The writer, or the merger, waits to be woken. Waking one that does not would cost a system call for nothing.
    pub(super) writer_rests: bool,
    pub(super) merger_rests: bool,
}

impl State {
    /// Of a ledger whose journal is merged up to there.
    pub(super) fn new(merged: Position) -> Self {
        Self {
            waiting: VecDeque::new(),
            writing: false,
            inline: false,
            in_line: 0,
            avoided: false,
            failing: false,
            open: HashSet::default(),
            urgent: false,
            flushing: false,
            unmerged: Unmerged { entries: Vec::new(), end: merged },
            merging: 0,
            merged,
            closing: false,
            writer_rests: false,
            merger_rests: false,
        }
    }

    /// The disk does not take what was asked: every hold is refused, those that wait too; endings go back in
    /// front, in order, but for those of the holds that were just refused.
    pub(super) fn refuse_holds(&mut self, group: Vec<Waiting>, reason: &Arc<str>) {
        let mut refused = HashSet::default();
        let mut endings = VecDeque::new();
        for (command, answer) in group.into_iter().chain(self.waiting.drain(..)) {
            match (command, answer) {
                (Command::Hold(hold), answer) => {
                    refused.insert(hold.call);
                    self.open.remove(&hold.call);
                    if let Some(asker) = answer {
                        asker.refuse(Unavailable(Arc::clone(reason)));
                    }
                }
                (Command::End(ending), _) if refused.contains(&ending.call) => {}
                (other, _) => endings.push_back((other, None)),
            }
        }
        self.waiting = endings;
        self.urgent = false;
    }
}
