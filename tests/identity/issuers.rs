//! Issuers that are fetched from: as they should be, slow, dead, lying, and under a flood of tokens.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mavera_gateway::identity::fetch;
use serde_json::json;

use super::{chat_with, refusal};
use crate::support::issuer::{ISSUER, TestIssuer};
use crate::support::rig::{Pipes, Rig, Setup, sample};
use crate::support::script::{read_request, write};

/// What an issuer answers.
#[derive(Clone)]
enum Answers {
    /// Its key set, and how long that is good.
    Keys(String, u64),
    /// These bytes to whatever is asked.
    Bytes(String),
    /// These bytes to the discovery, and then a key set.
    Discovery(String, String),
    /// Its key set, after a time.
    Late(String, Duration),
    /// Nothing.
    Nothing,
}

/// An issuer at the other end of pipes, and what it was asked.
#[derive(Clone)]
struct Served {
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn ok(body: &str, fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
}

fn discovery(issuer: &str, jwks_uri: &str) -> String {
    json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string()
}

impl Served {
    fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How often its key set was asked for.
    fn fetches(&self) -> usize {
        self.asked().iter().filter(|request| request.starts_with("GET /keys ")).count()
    }

    fn pipes(&self) -> Pipes {
        let served = self.clone();
        Pipes::to(move |mut io, _| {
            let served = served.clone();
            async move {
                let Some(request) = read_request(&mut io).await else { return };
                let request = String::from_utf8(request).unwrap();
                served.asked.lock().unwrap().push(request.clone());
                let is_discovery = request.starts_with("GET /.well-known/openid-configuration ");
                let answers = served.answers.lock().unwrap().clone();
                let usual = ok(&discovery(ISSUER, &format!("{ISSUER}/keys")), "");
                let text = match answers {
                    Answers::Nothing => return std::future::pending().await,
                    Answers::Bytes(bytes) => bytes,
                    Answers::Discovery(bytes, _) if is_discovery => bytes,
                    Answers::Discovery(_, keys) => ok(&keys, ""),
                    _ if is_discovery => usual,
                    Answers::Keys(keys, age) => {
                        ok(&keys, &format!("cache-control: public, max-age={age}\r\n"))
                    }
                    Answers::Late(keys, after) => {
                        tokio::time::sleep(after).await;
                        ok(&keys, "")
                    }
                };
                write(&mut io, text).await;
            }
        })
    }
}

/// A gateway whose one member has tokens of an issuer that answers so.
fn rig(answers: Answers, jwt: &str) -> (Rig, Served, tokio::task::JoinHandle<()>) {
    let usual = Setup::default();
    let member = "members = [{ id = \"growth-ci\", identity = \"build\", claims = { sub = \"a\" } }]";
    let setup = Setup {
        tables: format!(
            "[[identity]]\nname = \"build\"\njwt = {{ issuer = \"{ISSUER}\", audience = [\"mavera-gateway\"]{jwt} }}"
        ),
        team: format!("{}\n{member}", usual.team),
        ..usual
    };
    let (rig, _) = Rig::recording(&setup, 1_000_000);
    let served = Served { answers: Arc::new(Mutex::new(answers)), asked: Arc::default() };
    let (live, clock) = (Arc::clone(&rig.gateway.live), rig.gateway.recorder.clock());
    let watch = fetch::watch(served.pipes(), clock, move || Arc::clone(&live.current().identities));
    (rig, served, tokio::spawn(watch))
}

async fn status(rig: &Rig, issuer: &TestIssuer) -> u16 {
    let token = issuer.token(rig.gateway.recorder.clock().wall(), &json!({"sub": "a"}));
    rig.send(chat_with(rig, &token)).await.status().as_u16()
}

fn fetched(rig: &Rig, result: &str) -> f64 {
    let series = format!("mavera_gateway_jwks_fetches_total{{identity=\"build\",result=\"{result}\"}}");
    let metrics = rig.metrics();
    if metrics.contains(&series) { sample(&metrics, &series) } else { 0.0 }
}

#[tokio::test(start_paused = true)]
async fn keys_are_found_by_discovery_or_at_a_url_and_kept_fresh() {
    let issuer = TestIssuer::new("a");
    let (rig, served, _watch) = rig(Answers::Keys(issuer.key_set(), 4000), "");
    assert_eq!(status(&rig, &issuer).await, 200);
    assert_eq!((served.asked().len(), served.fetches()), (2, 1));
    let first = &served.asked()[0];
    assert!(
        first.starts_with("GET /.well-known/openid-configuration HTTP/1.1\r\n")
            && first.contains("host: 127.0.0.1:1\r\n"),
        "{first}"
    );
    assert!(!served.asked().concat().contains("authorization"));
    // At three quarters of what it is good for.
    tokio::time::sleep(Duration::from_secs(2990)).await;
    assert_eq!(served.fetches(), 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((served.fetches(), fetched(&rig, "ok")), (2, 2.0));
    let age = sample(&rig.metrics(), "mavera_gateway_jwks_age_seconds{identity=\"build\"}");
    assert!((0.0..=20.0).contains(&age), "{age}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "plainly-fake-token-for-the-issuer\n").unwrap();
    let jwt = format!(", jwks_url = \"http://127.0.0.1:1/keys\", token_file = '{}'", file.display());
    let (rig, served, _watch) = self::rig(Answers::Keys(issuer.key_set(), 1), &jwt);
    assert_eq!(status(&rig, &issuer).await, 200);
    assert_eq!((served.asked().len(), served.fetches()), (1, 1));
    assert!(served.asked()[0].contains("authorization: Bearer plainly-fake-token-for-the-issuer\r\n"));
    // Not more often than every five minutes.
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(served.fetches(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(served.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_for_whoever_shows_it_first_and_a_flood_is_one_fetch() {
    let (old, new) = (TestIssuer::new("old"), Arc::new(TestIssuer::new("new")));
    let (rig, served, _watch) = rig(Answers::Keys(old.key_set(), 86_400), "");
    let rig = Arc::new(rig);
    assert_eq!(status(&rig, &old).await, 200);
    served.answer(Answers::Keys(new.key_set(), 86_400));
    // All of them at once, and one fetch for all.
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (rig, new) = (Arc::clone(&rig), Arc::clone(&new));
        callers.spawn(async move { status(&rig, &new).await });
    }
    let all = callers.join_all().await;
    assert_eq!((all, served.fetches()), (vec![200; 20], 2));
    // The key that is gone opens nothing from then on, though its token is known.
    assert_eq!(status(&rig, &old).await, 401);
    // Names that no set has: one fetch in thirty seconds, and nobody else waits for it.
    let strangers: Vec<_> = (0..200).map(|number| TestIssuer::new(&format!("stranger-{number}"))).collect();
    tokio::time::sleep(Duration::from_secs(31)).await;
    let before = served.fetches();
    for second in 0..60 {
        for stranger in &strangers[second * 3..second * 3 + 3] {
            assert_eq!(status(&rig, stranger).await, 401);
        }
        assert_eq!(status(&rig, &new).await, 200);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(served.fetches() - before, 2, "in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_start_needs_no_network_and_the_first_call_waits_two_seconds_at_most() {
    let issuer = TestIssuer::new("a");
    let (rig, served, _watch) = rig(Answers::Nothing, "");
    let clock = rig.gateway.recorder.clock();
    let began = clock.now();
    let token = issuer.token(clock.wall(), &json!({"sub": "a"}));
    let answer = rig.send(chat_with(&rig, &token)).await;
    assert_eq!(refusal(&answer), (503, "identity_unavailable".into(), String::new()));
    assert_eq!((clock.now() - began, answer.header("retry-after")), (Duration::from_secs(2), "5"));
    // Keys do not wait for issuers.
    let by_key = rig.send(rig.chat(crate::support::chat_body(false, ""))).await;
    assert_eq!((by_key.status().as_u16(), clock.now() - began), (200, Duration::from_secs(2)));
    let unavailable = "mavera_gateway_identity_total{identity=\"build\",result=\"unavailable\"}";
    assert_eq!(sample(&rig.metrics(), unavailable), 1.0);
    // It comes back, and is looked for.
    served.answer(Answers::Keys(issuer.key_set(), 600));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(status(&rig, &issuer).await, 200);
    assert!(fetched(&rig, "failed") >= 1.0);

    // One that is slow, but not too slow.
    let (rig, _, _watch) = self::rig(Answers::Late(issuer.key_set(), Duration::from_millis(1500)), "");
    assert_eq!(status(&rig, &issuer).await, 200);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_gone_is_believed_for_a_day() {
    let issuer = TestIssuer::new("a");
    let (rig, served, _watch) = rig(Answers::Keys(issuer.key_set(), 600), "");
    assert_eq!(status(&rig, &issuer).await, 200);
    served.answer(Answers::Bytes("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".into()));
    tokio::time::sleep(Duration::from_hours(23)).await;
    assert_eq!(status(&rig, &issuer).await, 200);
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(status(&rig, &issuer).await, 503);
    let age = sample(&rig.metrics(), "mavera_gateway_jwks_age_seconds{identity=\"build\"}");
    assert!(age > 86_400.0, "{age}");
    // A reload does not forget what it had, nor what it had not.
    rig.gateway.live.reload().unwrap();
    assert_eq!(status(&rig, &issuer).await, 503);
    served.answer(Answers::Keys(issuer.key_set(), 600));
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(status(&rig, &issuer).await, 200);
    rig.gateway.live.reload().unwrap();
    let before = served.fetches();
    assert_eq!((status(&rig, &issuer).await, served.fetches()), (200, before));
}

#[tokio::test(start_paused = true)]
async fn what_an_issuer_must_not_answer_brings_no_keys() {
    let issuer = TestIssuer::new("a");
    let keys = issuer.key_set();
    let redirect =
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/keys\r\ncontent-length: 0\r\n\r\n".to_owned();
    let large = ok(&format!("{{\"keys\":[],\"pad\":\"{}\"}}", "x".repeat(10 << 20)), "");
    let twice = keys.replacen("\"keys\"", "\"keys\":[],\"keys\"", 1);
    for (answers, what) in [
        (Answers::Bytes(redirect.clone()), "redirects"),
        (Answers::Bytes(large), "is too large"),
        (Answers::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<ht>".into()), "is no JSON"),
        (
            Answers::Discovery(
                ok(&discovery("http://127.0.0.1:2", "http://127.0.0.1:1/keys"), ""),
                keys.clone(),
            ),
            "is of another name",
        ),
        (
            Answers::Discovery(ok(&discovery(ISSUER, "http://evil.example/keys"), ""), keys.clone()),
            "is in clear and elsewhere",
        ),
        (Answers::Discovery(ok(&discovery(ISSUER, "keys"), ""), keys.clone()), "is no URL"),
        (
            Answers::Keys("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}".into(), 60),
            "has no key for signatures",
        ),
        (Answers::Keys(twice, 60), "has a member twice"),
    ] {
        let (rig, served, _watch) = rig(answers, "");
        assert_eq!(status(&rig, &issuer).await, 503, "it {what}");
        assert_eq!(fetched(&rig, "ok"), 0.0, "it {what}");
        // It mends its ways.
        served.answer(Answers::Keys(keys.clone(), 600));
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(status(&rig, &issuer).await, 200, "it {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_good_for_long_is_fetched_while_there_is_time_to_fail() {
    let issuer = TestIssuer::new("a");
    let (rig, served, _watch) = rig(Answers::Keys(issuer.key_set(), 7 * 86_400), "");
    assert_eq!(status(&rig, &issuer).await, 200);
    tokio::time::sleep(Duration::from_hours(11)).await;
    served.answer(Answers::Nothing);
    // It is away for most of a day, and nobody notices.
    tokio::time::sleep(Duration::from_hours(12)).await;
    assert!(fetched(&rig, "failed") > 1.0);
    assert_eq!(status(&rig, &issuer).await, 200);
    served.answer(Answers::Keys(issuer.key_set(), 7 * 86_400));
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(status(&rig, &issuer).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_url_is_asked_for_as_it_is_written() {
    let issuer = TestIssuer::new("a");
    let jwt = ", jwks_url = \"http://127.0.0.1:1/keys/\"";
    let (rig, served, _watch) = rig(Answers::Keys(issuer.key_set(), 600), jwt);
    assert_eq!(status(&rig, &issuer).await, 200);
    assert!(served.asked()[0].starts_with("GET /keys/ HTTP/1.1\r\n"), "{:?}", served.asked());
}
