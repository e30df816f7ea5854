//! A ledger with a history: calls that were booked on other days than today.

use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use mavera_gateway::config::Durability;
use mavera_gateway::credits::Credits;
use mavera_gateway::ledger::entry::Entry;
use mavera_gateway::ledger::file::Store;
use mavera_gateway::ledger::{Account, Basis, Command, Ending, NewEnding, NewHold};
use mavera_gateway::meter::Usage;

/// A call as it was booked: how many days ago, whose, and what it cost.
pub struct Past {
    pub ago: i32,
    pub team: &'static str,
    pub key: String,
    pub credits: u64,
    pub in_doubt: bool,
}

/// A day so many days ago, as ledgers of these tests have days.
pub fn day(ago: i32) -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date().checked_sub(ago.days()).unwrap()
}

/// Writes calls into a ledger that no gateway has open, the oldest first.
pub fn write(path: &Path, calls: &[Past]) {
    let mut store = Store::open(path, Durability::Os).unwrap();
    let mut commands = Vec::new();
    for (call, past) in (1..).zip(calls) {
        let at = day(past.ago).to_zoned(TimeZone::UTC).unwrap().timestamp().checked_add(call.milliseconds());
        let (at, reserve) = (at.unwrap(), Credits::whole(5));
        let account = Account::of(past.team, &past.key, "video_chat");
        let credits = Credits::whole(past.credits);
        let basis = if past.in_doubt { Basis::Estimated } else { Basis::Final };
        commands.push(Command::Hold(NewHold {
            call,
            account: account.clone(),
            request_id: format!("past-{call}").into(),
            reserve,
            at,
            day: day(past.ago),
            retry: None,
        }));
        commands.push(Command::End(NewEnding {
            call,
            account,
            reserve,
            at: at.checked_add(1.second()).unwrap(),
            sent_at: Some(at),
            outcome: if past.in_doubt { "truncated" } else { "completed" },
            response_id: None,
            usage: Usage::default(),
            ending: Ending::Settled { credits, basis, reason: if past.in_doubt { "truncated" } else { "" } },
        }));
    }
    store.write(&commands.iter().map(Entry::from).collect::<Vec<_>>(), None).unwrap();
}
