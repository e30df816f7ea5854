//! An independent reading of a ledger file: replays its entries one by one and asserts the invariants for
//! every prefix. Shares no code with the gateway but the file.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// Budgets in millionths, that were in force throughout and whose holds were true.
#[derive(Debug, Default)]
pub struct Budgets {
    pub organisation: Option<i64>,
    pub teams: HashMap<String, i64>,
}

/// What a call has come to.
#[derive(Debug)]
struct Call {
    team: String,
    reserve: i64,
    ended: bool,
}

/// Asserts, for every prefix of the entries:
/// - a call is held once, before anything else about it, and ended at most once;
/// - an estimate books the reserve, a void books nothing, and a call that was never sent is void;
/// - settled and held together never exceed a budget by more than what answers cost beyond their holds.
pub fn check(path: &Path, budgets: &Budgets) {
    if !path.exists() {
        return;
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut statement = connection
        .prepare("SELECT seq, kind, call, team, credits, basis, sent_at FROM entries WHERE seq IS NOT NULL ORDER BY seq")
        .unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut calls: HashMap<i64, Call> = HashMap::new();
    let mut taken: HashMap<String, i64> = HashMap::new();
    let mut overrun: HashMap<String, i64> = HashMap::new();
    let mut last = 0;
    while let Some(row) = rows.next().unwrap() {
        let (seq, kind): (i64, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        assert!(seq > last, "entries are numbered in order");
        last = seq;
        let (call, team, credits): (i64, String, i64) =
            (row.get(2).unwrap(), row.get(3).unwrap(), row.get(4).unwrap());
        let (basis, sent_at): (Option<String>, Option<i64>) = (row.get(5).unwrap(), row.get(6).unwrap());
        let mut take = |amount: i64| {
            for scope in ["organisation", team.as_str()] {
                *taken.entry(scope.to_owned()).or_default() += amount;
            }
        };
        if kind == "hold" {
            let held = Call { team: team.clone(), reserve: credits, ended: false };
            assert!(calls.insert(call, held).is_none(), "entry {seq}: call {call} is held twice");
            assert!(credits > 0, "entry {seq}: a hold of nothing");
            take(credits);
        } else {
            let held =
                calls.get_mut(&call).unwrap_or_else(|| panic!("entry {seq}: call {call} was never held"));
            assert!(!std::mem::replace(&mut held.ended, true), "entry {seq}: call {call} ends twice");
            assert_eq!(held.team, team, "entry {seq}");
            match (kind.as_str(), basis.as_deref()) {
                ("voided", None) => assert_eq!(credits, 0, "entry {seq}"),
                ("settled", Some("estimated")) => assert_eq!(credits, held.reserve, "entry {seq}"),
                ("settled", Some("final")) => {
                    assert!(sent_at.is_some(), "entry {seq}: a figure without a request");
                    for scope in ["organisation", team.as_str()] {
                        *overrun.entry(scope.to_owned()).or_default() += (credits - held.reserve).max(0);
                    }
                }
                other => panic!("entry {seq}: {other:?}"),
            }
            take(credits - held.reserve);
        }
        let scopes = budgets.teams.iter().map(|(team, budget)| (team.as_str(), *budget));
        for (scope, budget) in scopes.chain(budgets.organisation.map(|budget| ("organisation", budget))) {
            let (taken, overrun) = (taken.get(scope).unwrap_or(&0), overrun.get(scope).unwrap_or(&0));
            assert!(
                *taken <= budget + overrun,
                "entry {seq}: {scope} has taken {taken} of {budget} millionths"
            );
        }
    }
}

/// Whether a hold stands in the database.
pub fn holds(path: &Path) -> bool {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    connection.query_row("SELECT count(*) > 0 FROM bookings", [], |row| row.get(0)).unwrap()
}
