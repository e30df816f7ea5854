//! The time is the database's: years and days end by it, and where its clock is set, the upstream's window goes by the time that
//! passes. It is read in one place, which is put in another here.

use std::time::Duration;

use mavera_gateway::books::admission::Asked;
use mavera_gateway::credits::Credits;
use mavera_gateway::credits::budget::Whose;
use mavera_gateway::credits::period::Period;
use mavera_gateway::desk::Ask;
use mavera_gateway::refuse::Refusal;

use super::desks;
use crate::budgets::{asked, hold_for, settings, settle};
use crate::support::postgres::Postgres;

/// With a credit to hold.
fn reserved(ask: Ask) -> Ask {
    Ask { reserve: Credits::whole(1), ..ask }
}

/// From now on the server's clock shows this, and goes on from there.
fn set(server: &Postgres, moment: &str) {
    server.ask(&format!(
        "CREATE OR REPLACE FUNCTION wall_clock() RETURNS BIGINT LANGUAGE sql VOLATILE AS
         $f$ SELECT (extract(epoch FROM TIMESTAMPTZ '{moment}' + (clock_timestamp() - TIMESTAMPTZ '{}')) * 1000000)::BIGINT $f$",
        server.ask("SELECT clock_timestamp()")
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_ends_by_the_databases_clock_at_every_gateway_and_a_clock_that_is_set_frees_no_place() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let config = super::config(&server, folder.path());
    tokio::task::block_in_place(|| {
        mavera_gateway::ledger::postgres::migrate(super::settings(&config)).unwrap()
    });
    // A moment before a year ends.
    set(&server, "2030-12-31 23:59:57+00");
    server.ask("UPDATE gate SET began_at = wall_clock(), clock = 0");
    let desks = desks(&server, folder.path(), 2).await;
    let settings = settings(1, 0);
    let ask = |n: usize| {
        let asked = asked("growth", &[(Whose::Team("growth".into()), 1, Period::Day)]);
        hold_for(&desks[n], asked, &settings)
    };
    // What is sent has a place for a minute.
    let sent = asked("growth", &[(Whose::Team("growth".into()), 1, Period::Day)]);
    let mut admission = desks[0].admit(Asked { ask: reserved(sent.ask), ..sent }, None).await.unwrap();
    admission.place.sent().unwrap();
    settle(admission.hold.unwrap(), 1);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(matches!(ask(1).await.unwrap_err(), Refusal::BudgetExceeded { .. }), "it is spent for the day");
    assert_eq!(desks[1].window_used(), 1);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let hold = ask(1).await.expect("another year has begun");
    assert_eq!(
        server.ask("SELECT string_agg(DISTINCT day::TEXT, ' ' ORDER BY day::TEXT) FROM calls"),
        "2030-12-31 2031-01-01"
    );
    settle(hold, 1);

    // An hour ahead: no place leaves for that. And back: nothing stands still for it.
    set(&server, "2031-01-01 01:00:05+00");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(desks[0].window_used(), 1);
    set(&server, "2030-12-31 23:00:00+00");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(
        matches!(ask(0).await.unwrap_err(), Refusal::BudgetExceeded { .. }),
        "the day that was is not opened again"
    );
    assert_eq!(desks[1].window_used(), 1);
}
