//! Jobs that nobody asks about: the gateway does, behind everybody who waits, so that a caller that is gone does not keep a place
//! that others wait for, and what the job cost is not missed.

use std::sync::Arc;
use std::time::Duration;

use crate::books::job::Told;
use crate::books::jobs::Unwatched;
use crate::books::keeper::Keeper;
use crate::inject;
use crate::live::{Live, Snapshot};
use crate::meter::{Figures, Meter};
use crate::outbound::ask::{Bounds, ask};
use crate::outbound::connect::Connect;
use crate::route::{Ids, Route, Thing};

/// How often is looked for such jobs.
const LOOK: Duration = Duration::from_secs(5);
/// What one question may take. A finished analysis is long.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), bytes: 16 << 20 };

/// Looks again and again. Never returns.
pub async fn watch<C: Connect>(connect: C, live: Arc<Live>, desk: Arc<Keeper>) {
    loop {
        tokio::time::sleep(LOOK).await;
        desk.expire_jobs();
        while let Some(unwatched) = desk.unwatched_job() {
            // It counts against the window like any call; callers come first.
            let Some(mut place) = desk.spare_place().await else { break };
            if place.sent().is_err() {
                break;
            }
            desk.asked_about(&unwatched);
            look(&connect, &live.current(), &desk, &unwatched).await;
        }
    }
}

/// The path of a thing, below the upstream's base URL.
fn path_of(thing: Thing, id: &str) -> Option<String> {
    let is_of = |route: &Route| route.row().is_read() && route.row().ids == Ids::One(thing);
    let row = Route::all().find(is_of)?.row();
    Some(row.template.strip_prefix("/api/v1")?.replace("{id}", id))
}

async fn look<C: Connect>(connect: &C, snapshot: &Snapshot, desk: &Arc<Keeper>, job: &Unwatched) {
    let request = path_of(job.thing, &job.id).and_then(|path| inject::own_request(snapshot, &path));
    let Some(request) = request else { return };
    let answer = match ask(connect, &snapshot.origin, request, BOUNDS).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(%error, id = &*job.id, "cannot ask how far a job has come");
            return;
        }
    };
    let status = answer.status();
    let mut meter = Meter::for_head(answer.headers(), Figures::Job);
    meter.look(answer.body());
    let Some(told) = Told::by(status, &meter.finish(true)) else {
        tracing::warn!(
            status = status.as_u16(),
            id = &*job.id,
            "the upstream does not say how far a job has come"
        );
        return;
    };
    desk.told_of_job(job.thing, &job.id, Told { own: true, ..told });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_can_be_asked_about() {
        for route in Route::all().filter(|route| route.row().job().is_some()) {
            let thing = route.row().makes.expect("what a job makes has an id");
            assert!(path_of(thing, "c1").is_some_and(|path| path.ends_with("/c1")), "{}", route.label());
        }
    }
}
