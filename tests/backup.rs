//! Copies of the ledger, and putting one in its place.

use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{Pair, PairSetup, binary};

fn credits(pair: &Pair, arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        binary().arg("credits").args(arguments).arg("--config").arg(pair.config_path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said.into_owned())
}

fn total(pair: &Pair) -> String {
    credits(pair, &["report", "--format", "csv"]).1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_whole_and_can_be_restored() {
    let mut pair = Pair::start(&PairSetup::default());
    let (address, key) = (pair.address, pair.key.clone());
    let load = tokio::spawn(async move {
        loop {
            chat(address, &key, chat_body(false, "")).await.unwrap();
        }
    });
    let copy = pair.folder.path().join("copy.db");
    let name = copy.to_str().unwrap().to_owned();
    while !total(&pair).contains("growth") {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let (code, said) = credits(&pair, &["backup", &name]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("written, and verified, up to entry"), "{said}");
    let (code, said) = credits(&pair, &["backup", &name]);
    assert!(code == Some(64) && said.contains("is there already"), "{said}");
    load.abort();
    let _ = load.await;
    pair.stop();
    // As the recipe says: the copy takes the place of the file, which takes its log along.
    let ledger = pair.folder.path().join("ledger.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(pair.folder.path().join(format!("ledger.db{suffix}")));
    }
    std::fs::rename(&copy, &ledger).unwrap();
    pair.start_again();
    assert_eq!(credits(&pair, &["verify"]).0, Some(0));
    assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
}

/// Puts a copy in the database's place, as after a disk that has spared the journal.
fn restore(pair: &Pair, copy: &std::path::Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(pair.folder.path().join(format!("ledger.db{suffix}")));
    }
    std::fs::copy(copy, pair.folder.path().join("ledger.db")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_booked_since_a_backup_is_taken_up_from_the_journal_and_what_it_lacks_is_told() {
    const LACKS: &str = "the ledger's database is older than its journal";
    let mut pair = Pair::start(&PairSetup::default());
    let copy = pair.folder.path().join("copy.db");
    let ask = async |pair: &Pair, count| {
        for _ in 0..count {
            assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
        }
    };
    ask(&pair, 2).await;
    assert_eq!(credits(&pair, &["backup", copy.to_str().unwrap()]).0, Some(0));
    ask(&pair, 3).await;
    pair.stop();
    let booked = total(&pair);
    restore(&pair, &copy);
    pair.start_again();
    assert_eq!(total(&pair), booked);
    assert_eq!(credits(&pair, &["verify"]).0, Some(0));
    assert!(!pair.gateway.output().contains(LACKS));
    // Each process that writes begins the other file: after two more, one that the copy goes on in is written over.
    for _ in 0..2 {
        ask(&pair, 1).await;
        pair.stop();
        pair.start_again();
    }
    pair.stop();
    restore(&pair, &copy);
    pair.start_again();
    assert!(pair.gateway.output().contains(LACKS), "{}", pair.gateway.output());
    assert_eq!(credits(&pair, &["verify"]).0, Some(0));
    assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_clean_stop_the_file_alone_is_the_ledger() {
    let mut pair = Pair::start(&PairSetup::default());
    for _ in 0..3 {
        chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap();
    }
    pair.stop();
    let booked = total(&pair);
    assert!(booked.contains("growth"), "{booked}");
    let log = pair.folder.path().join("ledger.db-wal");
    assert_eq!(std::fs::metadata(&log).map_or(0, |log| log.len()), 0);
    let _ = std::fs::remove_file(log);
    assert_eq!(total(&pair), booked);
}
