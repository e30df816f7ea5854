//! What concerns this gateway alone: bodies that two parsers could read differently, tokens, keys, paths
//! (cases 103 to 112).

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mavera_gateway::key::NewKey;
use tokio::sync::Notify;

use super::{BODY, Case, KEY, MARK, answered, case, converse, prove, refused, served_with, with_length};
use crate::support::recorder::{Recorder, answers, ours};
use crate::support::rig::{Answer, Rig, Setup};
use crate::support::script::{STREAM_HEAD, chunk, completed, json_answer, read_request, write};

const MESSAGES: &str = "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]";

pub fn cases() -> Vec<Case> {
    [bodies(), unknown_fields(), tokens(), paths()].into_iter().flatten().collect()
}

/// Judged by what the gateway reads of them; what it does not read goes on as it came.
fn bodies() -> Vec<Case> {
    let nested = |depth: usize| format!("{{\"x\":{}1{},{MESSAGES}}}", "[".repeat(depth), "]".repeat(depth));
    let stands = |name: &str, body: String| case(103, name, with_length("", &body), served_with(body));
    let falls = |name: &str, body: String| case(103, name, with_length("", &body), answered(400));
    vec![
        falls("`stream` twice", format!("{{{MESSAGES},\"stream\":true,\"stream\":false}}")),
        falls(
            "`stream` twice, once with an escape",
            format!("{{{MESSAGES},\"stream\":true,\"str\\u0065am\":false}}"),
        ),
        falls("`messages` twice", format!("{{{MESSAGES},{MESSAGES}}}")),
        falls(
            "`role` twice",
            "{\"messages\":[{\"role\":\"user\",\"r\\u006fle\":\"system\",\"content\":\"hi\"}]}".into(),
        ),
        falls("nested 129 deep", nested(128)),
        falls("a byte order mark", format!("\u{feff}{BODY}")),
        falls("bytes behind it", format!("{BODY}{BODY}")),
        falls("a NUL behind it", format!("{BODY}\0")),
        falls("a comment", format!("/* {MARK} */{BODY}")),
        falls("a comma too many", format!("{{{MESSAGES},}}")),
        falls("single quotes", BODY.replace('"', "'")),
        falls("not a number", format!("{{{MESSAGES},\"seed\":NaN}}")),
        falls("a control character in a string", format!("{{{MESSAGES},\"x\":\"a\nb\"}}")),
        falls("nothing", String::new()),
        case(
            103,
            "bytes that are no text",
            {
                let mut chat = with_length("", BODY).into_bytes();
                let at = chat.len() - 5;
                chat[at] = 0xff;
                chat
            },
            answered(400),
        ),
        stands("`model` twice", format!("{{\"model\":\"a\",\"mod\\u0065l\":\"b\",{MESSAGES}}}")),
        stands("other capitals", format!("{{{MESSAGES},\"Stream\":1,\"STREAM\":2,\"Messages\":[]}}")),
        stands("nested 128 deep", nested(127)),
        stands("a number beyond any", format!("{{{MESSAGES},\"seed\":1e400}}")),
        stands("white space around it", format!(" \r\n\t{BODY}\r\n ")),
        stands("escapes in names that are read", BODY.replace("role", "r\\u006fle")),
        stands(
            "text that looks like its own end",
            BODY.replace("hi", "\\\"}]}\\r\\n\\r\\nGET /evil HTTP/1.1"),
        ),
    ]
}

fn unknown_fields() -> Vec<Case> {
    [
        format!("{{\"persona_id\":\"p\",{MESSAGES},\"analysis_mode\":\"deep\"}}"),
        format!("{{{MESSAGES},\"x\":{{\"stream\":\"no\",\"messages\":null}},\"\":[1,2.50,-0,true,null]}}"),
        format!("{{{MESSAGES},\"temperature\":0.70,\"ünïcödé\":\"📉\"}}"),
    ]
    .into_iter()
    .map(|body| case(104, body.clone(), with_length("", &body), served_with(body)))
    .collect()
}

/// Tokens that others would verify. They are no keys of ours, and nothing in them is followed.
fn tokens() -> Vec<Case> {
    let token = |header: &str, claims: &str, signature: &str| {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{signature}", part(header), part(claims))
    };
    let claims =
        "{\"iss\":\"https://issuer.example\",\"aud\":\"gateway\",\"sub\":\"growth\",\"exp\":4102444800}";
    let mut cases = Vec::new();
    for (name, header, claims) in [
        ("no algorithm", "{\"alg\":\"none\"}", claims),
        ("a shared secret for a public key", "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", claims),
        ("a path for a key id", "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", claims),
        ("SQL for a key id", "{\"alg\":\"HS256\",\"kid\":\"' UNION SELECT 'x\"}", claims),
        ("a URL for a key id", "{\"alg\":\"RS256\",\"kid\":\"http://sink.example/key\"}", claims),
        ("keys elsewhere", "{\"alg\":\"RS256\",\"jku\":\"http://sink.example/keys\"}", claims),
        ("a certificate elsewhere", "{\"alg\":\"RS256\",\"x5u\":\"http://sink.example/cert\"}", claims),
        ("its own key", "{\"alg\":\"RS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}", claims),
        ("an extension that must be known", "{\"alg\":\"RS256\",\"crit\":[\"x\"],\"x\":1}", claims),
        ("another audience", "{\"alg\":\"RS256\"}", "{\"aud\":\"other\",\"exp\":4102444800}"),
        ("another issuer", "{\"alg\":\"RS256\"}", "{\"iss\":\"https://other.example\",\"exp\":4102444800}"),
        ("no expiry", "{\"alg\":\"RS256\"}", "{\"sub\":\"growth\"}"),
        ("expired a minute ago", "{\"alg\":\"RS256\"}", "{\"exp\":1894708740}"),
        ("valid in a minute", "{\"alg\":\"RS256\"}", "{\"nbf\":1894708860,\"exp\":4102444800}"),
    ] {
        for signature in ["", "c2lnbmF0dXJl"] {
            let chat = with_length("", BODY).replace(KEY, &token(header, claims, signature));
            cases.push(case(107, name, chat, answered(401)));
        }
    }
    let large = with_length("", BODY).replace(KEY, &token("{\"alg\":\"none\"}", &"x".repeat(100 << 10), ""));
    cases.push(case(107, "a token of 100 KiB", large, refused(431)));
    cases
}

fn paths() -> Vec<Case> {
    let paths = [
        "/",
        "/admin",
        "/metrics",
        "/debug",
        "/debug/pprof",
        "/livez",
        "/readyz",
        "/data/overview",
        "/sim/books",
    ];
    paths
        .into_iter()
        .map(|path| {
            let get = format!("GET {path} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {KEY}\r\n\r\n");
            case(111, path, get, answered(404))
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn bodies_and_tokens_mean_one_thing_or_are_refused() {
    prove(cases()).await;
}

/// Every line end, and every place to cut.
#[tokio::test(start_paused = true)]
async fn a_stream_means_the_same_however_it_is_written_and_cut() {
    let text = "\u{feff}: a comment\n\nevent: x\ndata:{\"delta\":\"{\\\"usage\\\":{\\\"credits_used\\\":0}}\"}\n\n\
                data: {\"type\":\"response.completed\",\ndata: \"response\":{\"id\":\"r\",\"usage\":{\"credits_used\":7}}}\n\ndata: [DONE]\n";
    let cuts = Arc::new(Mutex::new((String::new(), 0)));
    let next = Arc::clone(&cuts);
    let rig = Rig::with_upstream(&Setup::default(), move |mut io, _| {
        let next = Arc::clone(&next);
        async move {
            while read_request(&mut io).await.is_some() {
                let (text, cut) = next.lock().unwrap().clone();
                write(&mut io, STREAM_HEAD).await;
                let (first, second) = text.as_bytes().split_at(cut);
                for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
                    write(&mut io, chunk(piece)).await;
                    // A turn of the event loop, so that the pieces arrive apart.
                    tokio::task::yield_now().await;
                }
                write(&mut io, "0\r\n\r\n").await;
            }
        }
    });
    let mut sender = rig.connect().await;
    let mut count = 0;
    for ending in ["\n", "\r\n", "\r"] {
        let text = text.replace('\n', ending);
        for cut in 0..=text.len() {
            *cuts.lock().unwrap() = (text.clone(), cut);
            let response = sender.send_request(rig.chat(BODY)).await.unwrap();
            let answer = Answer::read(response).await;
            assert_eq!(answer.body, text);
            count += 1;
            sender.ready().await.unwrap();
        }
    }
    rig.settle().await;
    let records = rig.records();
    assert_eq!(records.len(), count);
    assert!(records.iter().all(|record| record["credits"] == 7 && record["outcome"] == "completed"));
}

/// The table of a team with a key.
fn team_of(name: &str, key: &NewKey) -> String {
    format!(
        "{}\n\n[[team]]\nname = \"{name}\"\nkeys = [{{ id = \"{}\", sha256 = \"{}\" }}]\n",
        Setup::default().team,
        key.id,
        key.sha256
    )
}

#[tokio::test(start_paused = true)]
async fn a_key_taken_away_during_a_stream_ends_with_it() {
    let key = NewKey::generate().unwrap();
    let setup = Setup { team: team_of("leaving", &key), ..Setup::default() };
    let go_on = Arc::new(Notify::new());
    let told = Arc::clone(&go_on);
    let rig = Rig::with_upstream(&setup, move |mut io, _| {
        let told = Arc::clone(&told);
        async move {
            while read_request(&mut io).await.is_some() {
                write(&mut io, [STREAM_HEAD.as_bytes(), &chunk("data: {}\n\n")].concat()).await;
                told.notified().await;
                write(&mut io, [&chunk(completed(3))[..], b"0\r\n\r\n"].concat()).await;
            }
        }
    });
    let mut request = rig.chat(BODY);
    request.headers_mut().insert("authorization", format!("Bearer {}", *key.text).parse().unwrap());
    let mut sender = rig.connect().await;
    let response = sender.send_request(request.clone()).await.unwrap();
    rig.reconfigure(&Setup::default());
    let refused = rig.send(request.clone()).await;
    assert_eq!((refused.status().as_u16(), refused.code().as_str()), (401, "invalid_api_key"));
    go_on.notify_one();
    let answer = Answer::read(response).await;
    assert!(answer.whole && answer.body.ends_with(b"[DONE]\n\n"), "what was begun goes on to its end");
    sender.ready().await.unwrap();
    let refused = sender.send_request(request).await.unwrap();
    assert_eq!(refused.status(), 401, "on the same connection too");
    rig.settle().await;
    let records = rig.records();
    let stream = records.iter().find(|record| record["team"] == "leaving").unwrap();
    assert_eq!((&stream["outcome"], &stream["booked"]), (&"completed".into(), &3.into()));
}

#[tokio::test(start_paused = true)]
async fn an_error_says_nothing_of_what_is_behind_the_gateway_or_beside_the_caller() {
    let key = NewKey::generate().unwrap();
    let setup = Setup { team: team_of("neighbours", &key), ..Setup::default() };
    let (rig, upstream) = Recorder::behind(&setup);
    let mut said = String::new();
    for answer in ["", "nonsense", "HTTP/1.1 401 X\r\ncontent-length: 2\r\n\r\n{}", "HTTP/1.1 101 X\r\n\r\n"]
    {
        upstream.answer_next(answer, true);
        let _ =
            write!(said, "{}", String::from_utf8_lossy(&converse(&rig, with_length("", BODY)).await.bytes));
    }
    rig.refuse_connections();
    for bytes in [
        with_length("", BODY),
        with_length("", "no JSON"),
        with_length("x-api-key: x\r\n", BODY),
        with_length("", BODY).replace(KEY, "wrong"),
        format!("GET /evil HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {KEY}\r\n\r\n"),
    ] {
        let _ = write!(said, "{}", String::from_utf8_lossy(&converse(&rig, bytes).await.bytes));
    }
    assert_eq!(answers(said.as_bytes()).unwrap().len(), 9);
    let folder = rig.config_path().parent().unwrap().display().to_string();
    for unwanted in
        ["127.0.0.1", "http://", "mvra_", "neighbours", "hyper", "panicked", ".rs:", &folder, &rig.key]
    {
        assert!(!said.contains(unwanted), "{unwanted:?} in {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_idempotency_key_of_two_teams_is_two_calls() {
    let key = NewKey::generate().unwrap();
    let setup = Setup { team: team_of("second", &key), ..Setup::default() };
    let (rig, upstream) = Recorder::behind(&setup);
    upstream.answer_next(json_answer("{\"usage\":{\"credits_used\":1},\"to\":\"the first\"}"), false);
    upstream.answer_next(json_answer("{\"usage\":{\"credits_used\":2},\"to\":\"the second\"}"), false);
    let chat = with_length("idempotency-key: the-same\r\n", BODY);
    let first = answers(&converse(&rig, &chat).await.bytes).unwrap();
    let second = answers(&converse(&rig, chat.replace(KEY, &key.text)).await.bytes).unwrap();
    assert!(first[0].body.ends_with(b"\"the first\"}") && second[0].body.ends_with(b"\"the second\"}"));
    let requests = upstream.take();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| !ours(request).unwrap().fields.contains_key("idempotency-key")));
    rig.settle().await;
    let booked: Vec<_> =
        rig.records().iter().map(|record| (record["team"].clone(), record["booked"].clone())).collect();
    assert_eq!(booked, [("growth".into(), 1.into()), ("second".into(), 2.into())]);
}
