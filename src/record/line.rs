//! The log line of a request. Its keys are a contract with whoever parses the logs; there is no field in it that
//! could hold a body or a secret.
//!
//! Written piece by piece and not by a serializer: one is written for every request, and the keys, the order and nearly
//! all values are known to need no escapes.

use std::io::Write;
use std::time::Duration;

use super::ended::Ended;
use crate::credits::Credits;
use crate::ledger::Basis;
use crate::meter::Finish;
use crate::refuse::Code;
use crate::route::Route;

/// A key as it stands behind another.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Appends the line of a call that has ended, with its line feed.
pub(super) fn write(ended: &Ended<'_>, out: &mut Vec<u8>) {
    let Ended { reading, times, .. } = ended;
    out.extend_from_slice(b"{\"timestamp\":\"");
    // Into memory: this cannot fail.
    let _ = write!(out, "{}", ended.at);
    out.extend_from_slice(br#"","level":"INFO","target":"mavera_gateway::record","message":"request""#);
    word(out, key!("request_id"), Some(ended.request_id));
    word(out, key!("peer"), Some(ended.peer));
    if let Some(caller) = ended.caller {
        word(out, key!("client"), Some(&caller.to_string()));
    }
    word(out, key!("team"), ended.who.map(|who| &*who.team));
    word(out, key!("key_id"), ended.who.map(|who| &*who.key_id));
    word(out, key!("method"), Some(ended.method.as_str()));
    word(out, key!("route"), ended.route().map(Route::label));
    word(out, key!("analysis_id"), ended.target.and_then(|target| target.id.as_deref()));
    word(out, key!("http_version"), Some(ended.http_version()));
    count(out, key!("status"), ended.status.map(|status| u64::from(status.as_u16())));
    word(out, key!("outcome"), Some(ended.outcome.as_str()));
    word(out, key!("code"), ended.code.map(Code::as_str));
    if let Some(repeat) = ended.repeats {
        word(out, key!("retry"), Some(repeat.as_str()));
        word(out, key!("original_request_id"), repeat.original());
    }
    out.extend_from_slice(key!("stream").as_bytes());
    out.extend_from_slice(if ended.stream { b"true" } else { b"false" });
    word(out, key!("finish"), reading.finish.map(Finish::as_str));
    text(out, key!("response_id"), reading.response_id.as_deref());
    credits(out, key!("credits"), reading.usage.credits);
    credits(out, key!("booked"), ended.booked());
    word(out, key!("basis"), ended.basis().map(Basis::as_str));
    count(out, key!("input_tokens"), reading.usage.input_tokens);
    count(out, key!("output_tokens"), reading.usage.output_tokens);
    count(out, key!("response_bytes"), Some(ended.bytes));
    seconds(out, key!("total_seconds"), Some(times.total()));
    seconds(out, key!("first_byte_seconds"), Some(times.head()));
    seconds(out, key!("upload_seconds"), Some(times.upload));
    seconds(out, key!("queued_seconds"), Some(times.queued));
    seconds(out, key!("waited_seconds"), Some(times.waited()));
    seconds(out, key!("upstream_seconds"), times.upstream());
    seconds(out, key!("gateway_seconds"), Some(times.ours()));
    out.extend_from_slice(b"}\n");
}

/// What is ours, or was held against an alphabet that needs no escapes.
fn word(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    out.extend_from_slice(key.as_bytes());
    match value {
        None => out.extend_from_slice(b"null"),
        Some(word) => {
            debug_assert!(word.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\'), "{word:?}");
            out.push(b'"');
            out.extend_from_slice(word.as_bytes());
            out.push(b'"');
        }
    }
}

/// What may hold anything.
fn text(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    out.extend_from_slice(key.as_bytes());
    // Text, into memory: this cannot fail.
    drop(serde_json::to_writer(out, &value));
}

fn count(out: &mut Vec<u8>, key: &str, value: Option<u64>) {
    out.extend_from_slice(key.as_bytes());
    match value {
        None => out.extend_from_slice(b"null"),
        Some(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

fn credits(out: &mut Vec<u8>, key: &str, value: Option<Credits>) {
    out.extend_from_slice(key.as_bytes());
    // Numbers, into memory: this cannot fail.
    drop(serde_json::to_writer(out, &value));
}

/// To the microsecond.
fn seconds(out: &mut Vec<u8>, key: &str, value: Option<Duration>) {
    count(out, key, value.map(|value| value.as_secs()));
    if let Some(value) = value {
        // A one in front keeps the zeros.
        let mut buffer = itoa::Buffer::new();
        let micros = buffer.format(1_000_000 + value.subsec_micros());
        out.push(b'.');
        out.extend_from_slice(&micros.as_bytes()[1..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ended::Times;
    use super::super::outcome::Outcome;
    use super::*;
    use crate::meter::{Reading, Usage};

    proptest! {
        #[test]
        fn a_line_is_one_json_object_whatever_is_in_it(
            odd in ".*", status in proptest::option::of(100..600u16), micros in 0..u64::MAX / 1000, count in any::<u64>(),
        ) {
            let time = Duration::from_micros(micros);
            let usage = Usage { credits: Some(Credits::from_millionths(count / 2)), input_tokens: Some(count), output_tokens: None };
            let reading = Reading { usage, response_id: Some(odd.clone()), finish: Some(Finish::Completed), ..Reading::default() };
            let began = crate::clock::Clock::system().now();
            let Some(over) = began.checked_add(time) else { return Ok(()) };
            let ended = Ended {
                at: jiff::Timestamp::UNIX_EPOCH,
                request_id: "0197f3a0-0000-7000-8000-000000000000",
                peer: "[2001:db8::1]:4242",
                caller: (count % 2 == 0).then_some(std::net::Ipv6Addr::LOCALHOST.into()),
                method: &http::Method::POST,
                version: http::Version::HTTP_11,
                target: None,
                who: None,
                outcome: Outcome::Completed,
                code: None,
                status: status.map(|status| http::StatusCode::from_u16(status).unwrap()),
                answered: None,
                stream: true,
                bytes: count,
                reading: &reading,
                repeats: None,
                reserved: None,
                ending: None,
                times: Times { began, sent: None, answered: None, ended: over, upload: Duration::ZERO, queued: Duration::ZERO, connecting: Duration::ZERO, followed: Duration::ZERO },
            };
            let mut out = Vec::new();
            write(&ended, &mut out);
            prop_assert_eq!(memchr::memchr(b'\n', &out), Some(out.len() - 1));
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read["request_id"].as_str(), Some(ended.request_id));
            prop_assert_eq!(read["peer"].as_str(), Some("[2001:db8::1]:4242"));
            prop_assert_eq!(read["response_id"].as_str(), Some(odd.as_str()));
            prop_assert_eq!(read["status"].as_u64(), status.map(u64::from));
            prop_assert_eq!(read["response_bytes"].as_u64(), Some(count));
            prop_assert_eq!(read["timestamp"].as_str(), Some("1970-01-01T00:00:00Z"));
            let told = read["total_seconds"].as_f64().unwrap();
            prop_assert!((told - time.as_secs_f64()).abs() <= told * 1e-9 + 1e-6, "{} {:?}", told, time);
            prop_assert!(read["upload_seconds"] == 0.0 && read["upstream_seconds"].is_null());
        }
    }
}
