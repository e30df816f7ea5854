//! Desks beside each other, without what stands around them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mavera_gateway::books::admission::Asked;
use mavera_gateway::books::hold::Hold;
use mavera_gateway::books::keeper::Keeper;
use mavera_gateway::books::limits::Limits;
use mavera_gateway::credits::budget::Whose;
use mavera_gateway::credits::period::Period;
use mavera_gateway::limit::rate::Standing;
use mavera_gateway::refuse::Refusal;

use super::desks;
use crate::budgets::{asked, hold_for, settings, settle};
use crate::support::postgres::Postgres;

/// What becomes of so many calls of a team at the same time, each at the next desk, on a budget of so much: those that hold.
async fn race(desks: &[Arc<Keeper>], team: &str, calls: usize, budget: u64) -> Vec<Hold> {
    let settings = settings(1, 0);
    let budgets = [(Whose::Team(team.into()), budget, Period::Day)];
    let calls: Vec<_> = (0..calls)
        .map(|n| {
            let (desk, settings, asked) =
                (Arc::clone(&desks[n % desks.len()]), settings.clone(), asked(team, &budgets));
            tokio::spawn(async move { hold_for(&desk, asked, &settings).await })
        })
        .collect();
    let mut holds = Vec::new();
    for call in calls {
        match call.await.unwrap() {
            Ok(hold) => holds.push(hold),
            Err(Refusal::CreditsHeld { .. } | Refusal::BudgetExceeded { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    holds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_for_a_hundred_calls_admits_a_hundred_of_a_thousand_over_three_gateways_again_and_again() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let desks = desks(&server, folder.path(), 3).await;
    for round in 0..50 {
        let team = format!("team{round}");
        let holds = race(&desks, &team, 1000, 100).await;
        assert_eq!(holds.len(), 100, "round {round}");
        let open = format!("SELECT sum(reserve) FROM bookings WHERE ended_in IS NULL AND team = '{team}'");
        assert_eq!(server.number(&open), 100_000_000, "each is durable before it is told");
        for hold in holds {
            settle(hold, 1);
        }
    }
    tokio::time::timeout(Duration::from_mins(1), async {
        while server.number("SELECT count(*) FROM bookings WHERE ended_in IS NULL") > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(server.number("SELECT sum(final) FROM day_sums"), 50 * 100_000_000);
}

/// Gateways of two releases beside each other: the tables of the next one have grown, and nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_grow_under_load_disturb_nobody_and_those_of_the_next_release_are_taken() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let desks = desks(&server, folder.path(), 2).await;
    let load = tokio::spawn({
        let desks = desks.clone();
        async move {
            let mut held = 0;
            for _ in 0..40 {
                let holds = race(&desks, "growth", 20, 1_000_000).await;
                held += holds.len();
                for hold in holds {
                    settle(hold, 1);
                }
            }
            held
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.ask(
        "LOCK TABLE gate IN ACCESS EXCLUSIVE MODE; ALTER TABLE bookings ADD COLUMN of_the_next TEXT; ALTER TABLE gate ADD COLUMN of_the_next BIGINT;
         ALTER TABLE replicas ADD COLUMN of_the_next INTEGER NOT NULL DEFAULT 0; INSERT INTO schema_version SELECT max(version) + 1 FROM schema_version",
    );
    assert_eq!(load.await.unwrap(), 800, "nobody was refused");
    // One that starts now is of this release still.
    let config = super::config(&server, &folder.path().join("another"));
    let another = super::books(config).await.desk;
    assert_eq!(race(&[another], "growth", 5, 1_000_000).await.len(), 5);
    server.ask("INSERT INTO schema_version SELECT max(version) + 1 FROM schema_version");
    let has = server.number("SELECT max(version) FROM schema_version");
    let config = super::config(&server, &folder.path().join("yet-another"));
    let refused = tokio::task::block_in_place(|| mavera_gateway::ledger::home::try_out(&config.ledger));
    let said = refused.unwrap_err().to_string();
    assert!(said.contains(&format!("has version {has}")) && said.contains("upgrade the program"), "{said}");
}

/// What a team is held to at one gateway it is held to at three together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_teams_rate_and_its_calls_at_the_same_time_are_bounded_over_three_gateways_together() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let desks = desks(&server, folder.path(), 3).await;
    let come = async |team: &'static str, limits: Limits, calls: usize| {
        let calls: Vec<_> = (0..calls)
            .map(|n| {
                let desk = Arc::clone(&desks[n % 3]);
                let asked = Asked {
                    limits: Some(limits),
                    ..crate::support::queue::asked(team, Duration::from_secs(20))
                };
                tokio::spawn(async move { desk.admit(asked, None).await })
            })
            .collect();
        let (mut admitted, mut refused) = (Vec::new(), Vec::new());
        for call in calls {
            match call.await.unwrap() {
                Ok(admission) => admitted.push(admission),
                Err(denied) => refused.push(denied.refusal),
            }
        }
        (admitted, refused)
    };
    let limits = |per_minute, burst, concurrency| {
        let [per_minute, burst] = [per_minute, burst].map(|count| NonZeroU32::new(count).unwrap());
        Limits { per_minute, burst, concurrency }
    };
    let slow = limits(6, 10, 1000);
    let (admitted, refused) = come("slow", slow, 60).await;
    assert_eq!((admitted.len(), refused.len()), (10, 50));
    assert!(refused.iter().all(|refusal| matches!(refusal, Refusal::RateLimited { .. })), "{refused:?}");
    // By the time that each has been told no once more, each knows of all that were admitted.
    assert_eq!(come("slow", slow, 3).await.1.len(), 3);
    for desk in &desks {
        let fresh = Standing { most: 10, left: 10, one_more: Duration::ZERO };
        let (rate, calls) = desk.of_team("slow", slow, (fresh, 0));
        assert_eq!((rate.most, rate.left, calls), (10, 0, 10));
        assert!(rate.one_more > Duration::ZERO);
    }

    let few = limits(60_000, 60_000, 5);
    let (admitted, refused) = come("few", few, 60).await;
    assert_eq!((admitted.len(), refused.len()), (5, 55));
    assert!(
        refused.iter().all(|refusal| matches!(refusal, Refusal::ConcurrencyLimited { .. })),
        "{refused:?}"
    );
    drop(admitted);
    // Whoever has not said that they are over yet does so in its next turn.
    let mut admitted = Vec::new();
    let again = async {
        while admitted.len() < 5 {
            admitted.extend(come("few", few, 3).await.0);
        }
    };
    tokio::time::timeout(Duration::from_mins(1), again).await.unwrap();
    assert_eq!((admitted.len(), come("few", few, 60).await.0.len()), (5, 0));

    // One call after the other, each at the next gateway: there is never more than one.
    let alone = Limits { concurrency: 1, ..few };
    for n in 0..60 {
        let asked =
            Asked { limits: Some(alone), ..crate::support::queue::asked("alone", Duration::from_secs(20)) };
        let admission = desks[n % 3].admit(asked, None).await;
        assert!(admission.is_ok(), "{n}: {:?}", admission.err());
    }
}
