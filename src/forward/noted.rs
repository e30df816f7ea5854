//! What an answer tells beyond itself: how far a job has come, and whose a thing is that was made.

use std::sync::Arc;

use http::StatusCode;

use crate::admit::body::Judged;
use crate::books::job::Told;
use crate::books::keeper::Keeper;
use crate::meter::{Figures, Reading};
use crate::route::query::is_word;
use crate::route::{Ids, Thing};

/// What is to be noted when an answer is over.
pub(super) struct Noted {
    desk: Arc<Keeper>,
    what: What,
}

enum What {
    /// A job was asked about.
    Job { thing: Thing, id: Arc<str>, status: StatusCode },
    /// Something was made, by this team.
    Made { thing: Thing, team: Arc<str> },
}

impl Noted {
    /// Of a call that was answered with this status; nothing where its answer tells nothing more.
    pub(super) fn of(desk: &Arc<Keeper>, judged: &Judged, status: StatusCode) -> Option<Self> {
        let row = judged.target.route.row();
        let what = match (row.makes, row.ids, &judged.target.id) {
            (Some(thing), ..) if status.is_success() => {
                What::Made { thing, team: Arc::clone(&judged.caller.who.team) }
            }
            (None, Ids::One(thing), Some(id)) if row.figures == Figures::Job => {
                What::Job { thing, id: Arc::clone(id), status }
            }
            _ => return None,
        };
        Some(Self { desk: Arc::clone(desk), what })
    }

    /// The answer is over, and said this.
    pub(super) fn told(self, reading: &Reading) {
        match self.what {
            What::Job { thing, id, status } => {
                if let Some(told) = Told::by(status, reading) {
                    self.desk.told_of_job(thing, &id, told);
                }
            }
            What::Made { thing, team } => {
                let id = match thing {
                    Thing::Thread => &reading.beside,
                    Thing::File if reading.beside.is_some() => &reading.beside,
                    _ => &reading.response_id,
                };
                if let Some(id) = id.as_deref().filter(|id| is_word(id)) {
                    self.desk.owners.made(thing, id, &team);
                }
            }
        }
    }
}
