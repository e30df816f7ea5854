//! A caller's body: accepted exactly if a second reader of the whole document would accept it, with the same flag.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mavera_gateway::refuse::Refusal;
use mavera_gateway::route::{Route, schema};
use mavera_gateway_fuzz::json::{self, Json, Text};

/// The verdict of the schema: the flag, or whether the document is at least a JSON object.
#[derive(Debug, PartialEq)]
enum Verdict {
    Chat { stream: bool },
    OtherObject,
    NotJson,
}

fuzz_target!(|body: &[u8]| {
    let expected = expect(body);
    // By the rules of every other route too: what is accepted is an object, whatever the values are that are not read.
    let is_object = json::read(body).is_some_and(|json| json.depth() <= 128 && json.members().is_some());
    for rules in Route::all().filter_map(|route| route.row().body) {
        match schema::judge(rules, body) {
            Ok(_) => assert!(is_object),
            Err(refusal) => {
                let message = refusal.message();
                assert!(message.len() < 1000 && !message.contains(char::is_control), "{message:?}");
            }
        }
    }
    let judged = schema::judge(Route::explained().row().body.expect("it has rules"), body);
    match &judged {
        Ok(chat) => assert_eq!(Verdict::Chat { stream: chat.stream }, expected),
        Err(refusal) => {
            assert!(!matches!(expected, Verdict::Chat { .. }), "refused without need: {}", refusal.message());
            // What is an object is told which field is wrong; a place in the text would send its author astray.
            let blames_json = matches!(refusal, Refusal::InvalidJson { .. });
            // But a number in a wrong place that no float can hold stops the parser before its kind is asked about.
            let unheld = refusal.message().contains("number out of range");
            assert!(unheld || !(blames_json && expected == Verdict::OtherObject), "{}", refusal.message());
            let message = refusal.message();
            assert!(message.len() < 1000 && !message.contains(char::is_control), "{message:?}");
        }
    }
});

fn expect(body: &[u8]) -> Verdict {
    let Some(document) = json::read(body) else { return Verdict::NotJson };
    if document.depth() > 128 || spells_no_text(&document) {
        return Verdict::NotJson;
    }
    match document.members() {
        None => Verdict::NotJson,
        Some(members) => match stream(members) {
            Some(stream) => Verdict::Chat { stream },
            None => Verdict::OtherObject,
        },
    }
}

/// Whether a value that must be read is half of a surrogate pair: no text. A name may be.
fn spells_no_text(document: &Json<'_>) -> bool {
    let role = |message: &Json<'_>| all(message.members().unwrap_or_default(), "role").into_iter().any(lone);
    let messages = all(document.members().unwrap_or_default(), "messages");
    messages.iter().any(|value| match value {
        Json::Array(messages) => messages.iter().any(|message| role(message) || lone(message)),
        other => lone(other),
    }) || all(document.members().unwrap_or_default(), "stream").into_iter().any(lone)
}

fn lone(value: &Json<'_>) -> bool {
    matches!(value, Json::String(text) if text.spelt().is_none())
}

/// The flag of a body that keeps to the schema.
fn stream(members: &[(Text<'_>, Json<'_>)]) -> Option<bool> {
    let [Json::Array(messages)] = all(members, "messages")[..] else { return None };
    let messages_fit = (1..=50).contains(&messages.len())
        && messages.iter().all(|message| {
            let fields = message.members().unwrap_or_default();
            matches!(all(fields, "role")[..], [Json::String(_)]) && all(fields, "content").len() <= 1
        });
    let stream = match all(members, "stream")[..] {
        [] | [Json::Scalar("false" | "null")] => false,
        [Json::Scalar("true")] => true,
        _ => return None,
    };
    messages_fit.then_some(stream)
}

fn all<'j, 't>(members: &'j [(Text<'t>, Json<'t>)], name: &str) -> Vec<&'j Json<'t>> {
    members.iter().filter(|(given, _)| given.is(name)).map(|(_, value)| value).collect()
}
