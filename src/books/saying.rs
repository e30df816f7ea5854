//! What is said and written at the end of a call: piece by piece where the desk is here, and all of it in one turn where it is not,
//! so that nobody ever sees a part.

use std::sync::Arc;

use super::home::Home;
use super::keeper::Keeper;
use super::shared::queue::{Group, Pending};
use super::step::{Ended, Step};
use crate::ledger::{Aside, Command, NewEnding, Note};

pub(super) struct Saying<'k> {
    keeper: &'k Arc<Keeper>,
    commands: Vec<Command>,
    before: Vec<Step>,
}

impl<'k> Saying<'k> {
    pub(super) fn new(keeper: &'k Arc<Keeper>) -> Self {
        Self { keeper, commands: Vec::new(), before: Vec::new() }
    }

    fn is_at_once(&self) -> bool {
        matches!(self.keeper.home, Home::Local(_))
    }

    pub(super) fn say(&mut self, step: Step) {
        if self.is_at_once() {
            self.keeper.say(step);
        } else {
            self.before.push(step);
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        if self.is_at_once() {
            self.keeper.ledger.note(note);
        } else {
            self.commands.push(note.into());
        }
    }

    pub(super) fn aside(&mut self, aside: Aside) {
        if self.is_at_once() {
            self.keeper.ledger.aside(aside);
        } else {
            self.commands.push(Command::Aside(aside));
        }
    }

    pub(super) fn end(&mut self, ending: NewEnding) {
        if self.is_at_once() {
            self.keeper.ledger.end(ending);
        } else {
            self.commands.push(Command::End(ending));
        }
    }

    /// The call has ended.
    pub(super) fn ended(self, ended: Ended) {
        let Self { keeper, commands, before } = self;
        match &keeper.home {
            Home::Local(_) => keeper.say(Step::Ended(ended)),
            Home::Shared(shared) => {
                shared.queue.push(Pending::Ending(Box::new(Group { commands, before, ended })));
            }
        }
    }
}
