//! Word gets out: one signed POST when something begins that operators have to know, and one when it is over.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mavera_gateway::notify;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::chat_body;
use crate::support::rig::{Pipes, Rig, Setup, sample};
use crate::support::script::{read_request, write};

const PATH: &str = "/services/T000/plainly-fake-path";
const SECRET: &str = "plainly-fake-secret-to-sign-with-0123456789";

/// A receiver that refuses so many POSTs, and takes the others.
#[derive(Clone, Default)]
struct Receiver {
    refuses: Arc<AtomicUsize>,
    got: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    fn pipes(&self) -> Pipes {
        let receiver = self.clone();
        Pipes::to(move |mut io, _| {
            let receiver = receiver.clone();
            async move {
                let request = String::from_utf8(read_request(&mut io).await.unwrap()).unwrap();
                receiver.got.lock().unwrap().push(request);
                let refuses = receiver.refuses.load(Ordering::Relaxed);
                receiver.refuses.store(refuses.saturating_sub(1), Ordering::Relaxed);
                let status = if refuses > 0 { "500 Internal Server Error" } else { "204 No Content" };
                write(&mut io, format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await;
            }
        })
    }

    fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }

    /// The bodies, without their heads.
    fn bodies(&self) -> Vec<Value> {
        let bodies =
            self.got().into_iter().map(|request| request.split_once("\r\n\r\n").unwrap().1.to_owned());
        bodies.map(|body| serde_json::from_str(&body).unwrap()).collect()
    }
}

/// A rig with a budget of so many credits, whose notifications go to `receiver`.
fn rig(
    receiver: &Receiver,
    folder: &tempfile::TempDir,
    format: &str,
    credits: u32,
) -> (Rig, tokio::task::JoinHandle<()>) {
    let (url, secret) = (folder.path().join("url"), folder.path().join("secret"));
    std::fs::write(&url, format!("http://127.0.0.1:9{PATH}\n")).unwrap();
    std::fs::write(&secret, SECRET).unwrap();
    let (rig, _) = Rig::with_simulator(&setup(folder, format, credits));
    let gateway = &rig.gateway;
    let (live, books) = (Arc::clone(&gateway.live), gateway.books.clone());
    let (bill, metrics) = (Arc::clone(&gateway.bill), Arc::clone(&gateway.metrics));
    let watch = notify::watch(receiver.pipes(), live, books, bill, (metrics, gateway.recorder.clock()));
    (rig, tokio::spawn(watch))
}

fn setup(folder: &tempfile::TempDir, format: &str, credits: u32) -> Setup {
    let [url, secret] = ["url", "secret"].map(|name| folder.path().join(name).display().to_string());
    Setup {
        credits: format!(
            "reserve = 1\nwait = \"0s\"\nbudget = {{ credits = {credits}, period = \"month\" }}"
        ),
        tables: format!(
            "[notify]\nwebhook = {{ file = '{url}' }}\nsecret = {{ file = '{secret}' }}\nformat = \"{format}\"\n"
        ),
        ..Setup::default()
    }
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> String {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.map(|b| b ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    hex::encode(Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}

async fn looked() {
    tokio::time::sleep(Duration::from_secs(6)).await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_spent_is_told_once_and_once_that_it_is_not_any_more() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::default());
    let (rig, watch) = rig(&receiver, &folder, "json", 4);
    looked().await;
    assert_eq!(receiver.got().len(), 0, "nothing goes on");
    for _ in 0..3 {
        assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    }
    rig.settle().await;
    looked().await;
    looked().await;
    let got = receiver.got();
    assert_eq!(got.len(), 1, "{got:?}");
    let (head, body) = got[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("POST {PATH} HTTP/1.1\r\n")), "{head}");
    let field = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("{name} is not in {head}")).to_owned()
    };
    assert_eq!(field("content-type"), "application/json");
    assert!(!head.contains("authorization"), "{head}");
    let signed = format!("{}.{body}", field("x-mavera-gateway-timestamp"));
    assert_eq!(
        field("x-mavera-gateway-signature"),
        format!("v1={}", hmac(SECRET.as_bytes(), signed.as_bytes()))
    );
    let told = &receiver.bodies()[0];
    assert_eq!(
        (&told["event"], &told["kind"], &told["subject"]),
        (&"began".into(), &"budget_threshold".into(), &"organisation".into())
    );
    assert_eq!((&told["level"], &told["severity"]), (&75.into(), &"warning".into()));
    assert_eq!(
        told["message"],
        "75 % of the budget of organisation are spent: 3 of 4 credits of this month. It begins anew at 2030-02-01T00:00:00Z."
    );
    // It rises, and is over.
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    rig.settle().await;
    looked().await;
    rig.reconfigure(&setup(&folder, "json", 100));
    looked().await;
    let told = receiver.bodies();
    let events: Vec<_> =
        told.iter().map(|told| (told["event"].as_str().unwrap(), told["level"].as_u64().unwrap())).collect();
    assert_eq!(events, [("began", 75), ("began", 100), ("over", 100)]);
    assert_eq!((&told[1]["severity"], &told[2]["severity"]), (&"critical".into(), &"resolved".into()));
    assert_ne!(told[0]["id"], told[1]["id"]);
    assert_eq!(sample(&rig.metrics(), "mavera_gateway_notifications_total{result=\"sent\"}"), 3.0);
    let records = rig.records();
    assert!(!format!("{records:?}").contains("plainly-fake"), "no secret is in the log");
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_away_is_told_later_and_keeps_nobody_waiting() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::default());
    receiver.refuses.store(2, Ordering::Relaxed);
    let (rig, watch) = rig(&receiver, &folder, "json", 1);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
    rig.settle().await;
    looked().await;
    assert_eq!(receiver.got().len(), 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let bodies = receiver.bodies();
    assert_eq!(bodies.len(), 3, "again after two seconds, and after ten");
    assert_eq!(bodies[0]["id"], bodies[2]["id"]);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(receiver.got().len(), 3, "and never again");
    // One that never takes anything is given up.
    receiver.refuses.store(usize::MAX, Ordering::Relaxed);
    rig.reconfigure(&setup(&folder, "json", 100));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(receiver.got().len(), 3 + 6);
    assert_eq!(sample(&rig.metrics(), "mavera_gateway_notifications_total{result=\"failed\"}"), 1.0);
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn slack_and_teams_are_told_in_their_own_forms() {
    for (format, text) in [("slack", "/text"), ("teams", "/attachments/0/content/body/0/text")] {
        let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::default());
        let (rig, watch) = rig(&receiver, &folder, format, 1);
        assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
        rig.settle().await;
        looked().await;
        let told = receiver.bodies();
        let text = told[0].pointer(text).and_then(Value::as_str).unwrap();
        assert!(text.starts_with("Critical: 100 % of the budget of organisation are spent"), "{text}");
        watch.abort();
    }
}

#[test]
fn a_webhook_that_cannot_be_is_refused_without_a_word_of_its_url() {
    for (url, why) in [
        ("http://hooks.example/plainly-fake", "anybody on the way can read"),
        ("not a url plainly-fake", "does not hold a URL"),
        ("https://user:plainly-fake@hooks.example/", "without user and password"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("url"), url).unwrap();
        std::fs::write(folder.path().join("gateway.toml"), "[notify]\nwebhook = { file = \"url\" }\n")
            .unwrap();
        let output = crate::support::process::binary()
            .args(["check", "--config"])
            .arg(folder.path().join("gateway.toml"))
            .env("MAVERA_API_KEY", crate::support::CANARY)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(64) && said.contains("notify.webhook") && said.contains(why),
            "{said}"
        );
        assert!(!said.contains("plainly-fake"), "{said}");
    }
}
