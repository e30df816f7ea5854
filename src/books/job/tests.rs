use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn account() -> Account {
    Account { team: "growth".into(), key_id: "k".into(), route: Route::named("video_analyses") }
}

fn over() -> Told {
    Told { status: Some(Status::Completed), ..Told::default() }
}

fn cost(credits: u64) -> Told {
    Told { figure: Some(Credits::whole(credits)), ..over() }
}

/// One job, the call 1 and the analysis `ca`, which began at zero.
fn begun() -> Jobs {
    let mut jobs = Jobs::default();
    let held = (Date::constant(2030, 1, 15), Credits::whole(500));
    jobs.begin(1, account(), Some("ca".into()), held, Duration::ZERO);
    jobs
}

fn tell(jobs: &mut Jobs, told: Told, now: Moment) -> Turn {
    jobs.told_by_id(Thing::Analysis, "ca", told, now).unwrap()
}

fn names(turn: &Turn) -> Vec<&'static str> {
    let name = |event: &JobEvent| match event {
        JobEvent::Begun { .. } => "begun",
        JobEvent::Over => "over",
        JobEvent::GivenUp { .. } => "given up",
        JobEvent::Settled { after_all: false, .. } => "settled",
        JobEvent::Settled { after_all: true, .. } => "settled after all",
    };
    turn.events.iter().map(name).collect()
}

#[test]
fn one_that_was_given_up_stays_it_whatever_is_told_of_its_end() {
    let mut jobs = begun();
    let turns = jobs.expire(EXPIRES);
    assert_eq!((names(&turns[0]), turns[0].frees), (vec!["given up"], true));
    let turn = tell(&mut jobs, over(), EXPIRES + MINUTE);
    assert_eq!((names(&turn), turn.frees), (vec![], false));
    let turn = tell(&mut jobs, cost(120), EXPIRES + MINUTE);
    assert_eq!((names(&turn), turn.frees, turn.is_late), (vec!["settled after all"], false, true));
    assert!(jobs.told_by_id(Thing::Analysis, "ca", cost(130), EXPIRES + MINUTE).is_none(), "once");
}

#[test]
fn a_figure_that_comes_behind_the_end_is_late_and_one_that_comes_with_it_is_not() {
    let turn = tell(&mut begun(), cost(120), MINUTE);
    assert_eq!((names(&turn), turn.frees, turn.is_late), (vec!["over", "settled"], true, false));
    let mut jobs = begun();
    tell(&mut jobs, over(), MINUTE);
    let turn = tell(&mut jobs, cost(120), MINUTE);
    assert_eq!((names(&turn), turn.frees, turn.is_late), (vec!["settled"], false, true));
    let mut jobs = begun();
    tell(&mut jobs, over(), MINUTE);
    let turn = jobs.told(1, cost(120), Basis::Derived, MINUTE).unwrap();
    assert!(!turn.is_late, "what follows from the bill is in it");
}

#[test]
fn one_whose_cost_is_known_is_over_when_nobody_sees_its_end_in_time() {
    let mut jobs = begun();
    let turn =
        jobs.told(1, Told { figure: Some(Credits::whole(120)), ..Told::default() }, Basis::Final, MINUTE);
    assert_eq!(names(&turn.unwrap()), ["settled"]);
    let turns = jobs.expire(EXPIRES);
    assert_eq!((names(&turns[0]), turns[0].frees), (vec!["over"], true));
    assert_eq!(jobs.all().count(), 0);
}

#[test]
fn one_that_is_taken_up_is_asked_about_before_it_is_given_up() {
    let mut jobs = Jobs::default();
    let known = KnownJob {
        call: 1,
        account: account(),
        upstream_id: Some("ca".into()),
        day: Date::constant(2030, 1, 15),
        reserve: Credits::whole(500),
        began: jiff::Timestamp::UNIX_EPOCH,
        stage: KnownStage::GoesOn,
        is_settled: false,
    };
    jobs.take_up(known, Duration::from_hours(5), Duration::ZERO);
    let asks = (0..60).map(Duration::from_secs).find(|now| jobs.unwatched(*now).is_some());
    assert!(jobs.expire(asks.unwrap()).is_empty());
    assert_eq!(jobs.expire(MINUTE).len(), 1, "it has its place no longer than that");
}
