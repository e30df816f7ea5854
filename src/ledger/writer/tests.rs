use jiff::Timestamp;
use jiff::civil::Date;

use super::*;
use crate::credits::Credits;
use crate::ledger::Account;

fn hold(call: i64) -> NewHold {
    NewHold {
        call,
        account: Account { team: "growth".into(), key_id: "abcd2345".into(), route: "video_chat" },
        request_id: "r".into(),
        reserve: Credits::whole(5),
        at: Timestamp::UNIX_EPOCH,
        day: Date::constant(2026, 11, 23),
    }
}

#[test]
fn a_hold_that_waits_for_the_writer_is_answered_by_whoever_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("ledger.db"), Durability::Os).unwrap();
    let shared = Shared::new(&store, Durability::Os, Clock::system(), Arc::default()).unwrap();
    let ledger = SqliteLedger { shared: Arc::new(shared), _lock: tempfile::tempfile().unwrap() };
    ledger.shared.state().writing = true;
    let Receipt::Waiting(mut waits) = ledger.hold(hold(1)) else { panic!("the writer is at work") };
    // It is done, and has not come back for what waits, when somebody else comes.
    ledger.shared.state().writing = false;
    assert!(matches!(ledger.hold(hold(2)), Receipt::Written));
    assert!(matches!(waits.try_recv(), Ok(Ok(()))), "it is in the journal, and its call may be sent");
}
