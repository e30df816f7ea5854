//! The way to the database: secured with the operator's roots, and clear text to this machine alone.

use super::fleet::{Fleet, FleetSetup};
use crate::support::authority::Authority;
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::postgres::Postgres;
use crate::support::process::binary;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_spoken_to_by_tls_with_our_roots_and_by_nothing_else_elsewhere() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue();
    let server = Postgres::start();
    server.secure(&certificate, &key);
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &authority.pem).unwrap();
    let url = format!("postgresql://postgres@localhost:{}/postgres", server.port);
    let ledger = format!("ca_file = '{}'\n", roots.display());
    let setup = FleetSetup { gateways: 2, ledger: &ledger, ..FleetSetup::default() };
    let fleet = Fleet::start_on(server, &setup, Some(url.clone()));
    for n in 0..2 {
        let answer = chat(fleet.address(n), fleet.key("growth"), chat_body(false, "")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let clear = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                 WHERE application_name = 'mavera-gateway' AND NOT ssl";
    assert_eq!(fleet.server.number(clear), 0);
    assert!(fleet.server.number("SELECT count(*) FROM pg_stat_ssl WHERE ssl") >= 2);
    fleet.settled().await;
    fleet.assert_books();

    // Of another authority, and in clear text to another machine: refused before anything is said, in words.
    let text = std::fs::read_to_string(fleet.config(0)).unwrap();
    let config = folder.path().join("wrong.toml");
    let check = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let output = binary().args(["check", "--config"]).arg(&config).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        String::from_utf8(output.stderr).unwrap()
    };
    std::fs::write(&roots, &Authority::new().pem).unwrap();
    let said = check(&text);
    assert!(said.contains("ledger.postgres") && said.contains("certificate"), "{said}");
    std::fs::write(
        fleet.folder.path().join("url"),
        "postgresql://gateway:a-secret@192.0.2.1/ledger?sslmode=disable",
    )
    .unwrap();
    let said = check(&text);
    assert!(said.contains("clear text is for this machine alone") && !said.contains("a-secret"), "{said}");
    std::fs::write(fleet.folder.path().join("url"), &url).unwrap();
}
