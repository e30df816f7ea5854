//! Every route passes bytes on as they are, in both directions, and nothing that is no row's.

use mavera_gateway::route::Route;
use proptest::prelude::*;

use super::{call, matrix, wide};
use crate::support::rig::Rig;
use crate::support::script::{Received, json_answer, read_request, write};

/// What no parser and writer would give back as it is.
const ODD: &str = "{ \"id\" : \"c1\",\r\n\t\"text\":\"\\u00e9é\\/\", \"n\":1.50e0, \"n\":2,\"usage\":{\"credits_used\":1},\"credits_charged\":1 }";

#[tokio::test(start_paused = true)]
async fn bytes_are_the_same_both_ways() {
    for (route, case) in matrix().filter(|(route, _)| route.row().is_upstream()) {
        let (received, row) = (Received::default(), route.row());
        let log = received.clone();
        let rig = Rig::with_upstream(&wide(), move |mut io, _| {
            let log = log.clone();
            async move {
                if let Some(request) = read_request(&mut io).await {
                    log.push(request);
                }
                write(&mut io, json_answer(ODD)).await;
            }
        });
        // Spaces, an order and escapes of its own.
        let body =
            (case.body)(false, "").replace(':', " : ").replace('{', "{\n ").replace("video", "v\\u0069deo");
        let body = if row.body.is_some() { body } else { "what has no meaning".into() };
        let answer = rig.send(call(&rig, route, &case.target, body.clone())).await;
        assert_eq!((answer.status().as_u16(), &*answer.body), (200, ODD.as_bytes()), "{}", row.label);
        let requests = received.requests();
        let [request] = &requests[..] else { panic!("{}: {requests:?}", row.label) };
        let (head, sent) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("{} {} HTTP/1.1\r\n", row.method, case.target)), "{head}");
        assert_eq!(sent, if row.body.is_some() { &*body } else { "" }, "{}", row.label);
        assert!(!head.to_lowercase().contains("idempotency"), "{head}");
    }
}

/// Words that paths of the upstream are made of, and words that are not.
const WORDS: [&str; 24] = [
    "api",
    "v1",
    "video-analyses",
    "video-analysis",
    "chat",
    "completions",
    "responses",
    "mave",
    "threads",
    "personas",
    "focus-groups",
    "generations",
    "generation-apps",
    "brand-voices",
    "news",
    "stories",
    "trending",
    "analyze",
    "files",
    "upload-url",
    "usage",
    "workspaces",
    "c1",
    "",
];

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

fn path() -> impl Strategy<Value = String> {
    let odd =
        prop_oneof![Just("."), Just(".."), Just("%2e"), Just("%2F"), Just("a%2fb"), Just("{id}"), Just("~")];
    let segment = prop_oneof![12 => proptest::sample::select(&WORDS[..]), 1 => odd];
    let words = (any::<bool>(), proptest::collection::vec(segment, 0..6)).prop_map(|(below, segments)| {
        let prefix = if below { "/api/v1/" } else { "/" };
        prefix.to_owned() + &segments.join("/")
    });
    let templates: Vec<_> = Route::all().map(|route| route.row().template).collect();
    let template = (proptest::sample::select(templates), "[a-zA-Z0-9_.~-]{1,3}")
        .prop_map(|(template, id)| template.replace("{id}", &id));
    prop_oneof![2 => words, 1 => template]
}

/// Whether a path is a template's, told in another way than the gateway does.
fn is_of(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let is_id = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    template.len() == path.len()
        && template.iter().zip(&path).all(|(t, p)| (t == p && *t != "{id}") || (*t == "{id}" && is_id(p)))
}

#[test]
fn no_path_without_a_row_is_ever_forwarded() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (rig, received) = runtime.block_on(async { Rig::recording(&wide(), 1) });
    let cases: Vec<_> = matrix().collect();
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
    let forwarded = std::cell::Cell::new(0);
    proptest!(config, |(method in proptest::sample::select(&METHODS[..]), path in path())| {
        let row = cases.iter().find(|(route, _)| {
            let row = route.row();
            let same = row.method.as_str() == method || (row.method == "GET" && method == "HEAD");
            row.is_upstream() && same && is_of(row.template, &path)
        });
        let before = received.requests().len();
        let body = row.map_or_else(|| "{}".to_owned(), |(_, case)| (case.body)(false, ""));
        let status = runtime.block_on(async {
            let mut request = rig.request(method.parse().unwrap(), &path, body);
            request.headers_mut().insert("idempotency-key", format!("k{before}-{path}").replace(' ', "").parse().unwrap());
            rig.connect().await.send_request(request).await.unwrap().status()
        });
        let sent = received.requests().len() - before;
        forwarded.set(forwarded.get() + sent);
        // A read that was made a moment ago is answered from that.
        // So may a job be refused whose like are under way, as far as anybody knows.
        let spared = sent == 0 && [200, 429].contains(&status.as_u16());
        prop_assert!(sent == usize::from(row.is_some()) || spared, "{method} {path}: {status}");
        prop_assert!(row.is_some() || sent == 0, "{method} {path}");
    });
    assert!(forwarded.get() > 100, "{}", forwarded.get());
}
