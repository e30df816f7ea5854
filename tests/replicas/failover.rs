//! Another server answers: a standby that was promoted, and had not had all that was acknowledged.

use std::time::Duration;

use super::fleet::{Fleet, FleetSetup};
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::postgres::Postgres;

/// A standby of a server, which follows it.
fn standby(primary: &Postgres) -> Postgres {
    let place = primary.folder().display();
    Postgres::copy_of(
        primary,
        &format!("primary_conninfo = 'host={place} port={} user=postgres'", primary.port),
    )
}

async fn ask(fleet: &Fleet, n: usize) -> u16 {
    chat(fleet.address(n), fleet.key("growth"), chat_body(false, "")).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_promoted_standby_has_lost_is_brought_back_by_those_who_remember_it() {
    let primary = Postgres::start_with("wal_level = replica\nmax_wal_senders = 4\n");
    let standby = standby(&primary);
    let host = |server: &Postgres| server.folder().display().to_string().replace('/', "%2F");
    let url = format!(
        "postgresql://postgres@{}:{},{}:{}/postgres",
        host(&primary),
        primary.port,
        host(&standby),
        standby.port
    );
    let fleet = Fleet::start_on(primary, &FleetSetup::default(), Some(url));
    for n in 0..3 {
        assert_eq!(ask(&fleet, n).await, 200);
    }
    fleet.settled().await;
    while standby.number("SELECT count(*) FROM bookings WHERE ended_in IS NOT NULL") < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The standby stands still; what is acknowledged from now on it has not.
    standby.kill();
    for n in 0..9 {
        assert_eq!(ask(&fleet, n % 3).await, 200);
    }
    fleet.settled().await;
    fleet.server.kill();
    standby.go();
    let before = standby.number("SELECT count(*) FROM bookings");
    assert!(before < 12, "the standby has not had all of it: {before}");
    standby.promote();
    let mut served = 0;
    for n in 0..3 {
        while ask(&fleet, n).await != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        served += 1;
    }
    while standby.number("SELECT count(*) FROM bookings WHERE ended_in IS NULL") > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(standby.number("SELECT count(*) FROM bookings"), 12 + served);
    let charged: f64 = fleet.books()["received"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["charged"].as_f64().unwrap())
        .sum();
    assert_eq!(
        standby.number("SELECT sum(final) FROM day_sums"),
        (charged * 1e6) as i64,
        "each is booked once, at its figure"
    );
    assert_eq!(standby.number("SELECT sum(estimated) FROM day_sums"), 0);
    let brought_back: f64 = fleet
        .gateways
        .iter()
        .map(|gateway| gateway.metric("mavera_gateway_ledger_replayed_batches_total"))
        .sum();
    assert!(brought_back > 0.0);
    let said = fleet.command(&["credits", "verify"]);
    assert!(said.contains("fine"), "{said}");
}
