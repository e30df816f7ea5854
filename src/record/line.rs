//! The log line of a request. Its keys are a contract with whoever parses the logs; there is no field in it that
//! could hold a body or a secret.
//!
//! Written piece by piece and not by a serializer: one is written for every request, and the keys, the order and nearly
//! all values are known to need no escapes.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;

use crate::credits::Credits;

/// What is said of a request.
pub(super) struct Line<'a> {
    pub(super) timestamp: Timestamp,
    pub(super) request_id: &'a str,
    pub(super) team: Option<&'a str>,
    pub(super) key_id: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) route: Option<&'a str>,
    pub(super) analysis_id: Option<&'a str>,
    pub(super) http_version: &'a str,
    pub(super) status: Option<u16>,
    pub(super) outcome: &'a str,
    pub(super) code: Option<&'a str>,
    pub(super) stream: bool,
    pub(super) finish: Option<&'a str>,
    pub(super) response_id: Option<&'a str>,
    pub(super) credits: Option<Credits>,
    pub(super) booked: Option<Credits>,
    pub(super) basis: Option<&'a str>,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) response_bytes: u64,
    pub(super) total: Duration,
    pub(super) first_byte: Duration,
    pub(super) upload: Duration,
    pub(super) upstream: Option<Duration>,
    pub(super) gateway: Duration,
}

impl Line<'_> {
    /// Appends the line, with its line feed.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"timestamp\":\"");
        // Into memory: this cannot fail.
        let _ = write!(out, "{}", self.timestamp);
        out.extend_from_slice(br#"","level":"INFO","target":"mavera_gateway::record","message":"request""#);
        text(out, "request_id", Some(self.request_id));
        text(out, "team", self.team);
        text(out, "key_id", self.key_id);
        text(out, "method", Some(self.method));
        text(out, "route", self.route);
        text(out, "analysis_id", self.analysis_id);
        text(out, "http_version", Some(self.http_version));
        count(out, "status", self.status.map(u64::from));
        text(out, "outcome", Some(self.outcome));
        text(out, "code", self.code);
        key(out, "stream");
        out.extend_from_slice(if self.stream { b"true" } else { b"false" });
        text(out, "finish", self.finish);
        text(out, "response_id", self.response_id);
        credits(out, "credits", self.credits);
        credits(out, "booked", self.booked);
        text(out, "basis", self.basis);
        count(out, "input_tokens", self.input_tokens);
        count(out, "output_tokens", self.output_tokens);
        count(out, "response_bytes", Some(self.response_bytes));
        seconds(out, "total_seconds", Some(self.total));
        seconds(out, "first_byte_seconds", Some(self.first_byte));
        seconds(out, "upload_seconds", Some(self.upload));
        seconds(out, "upstream_seconds", self.upstream);
        seconds(out, "gateway_seconds", Some(self.gateway));
        out.extend_from_slice(b"}\n");
    }
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    key(out, name);
    match value {
        None => out.extend_from_slice(b"null"),
        Some(plain) if plain.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') => {
            out.push(b'"');
            out.extend_from_slice(plain.as_bytes());
            out.push(b'"');
        }
        // An id of the upstream's may hold anything.
        Some(odd) => drop(serde_json::to_writer(out, odd)),
    }
}

fn count(out: &mut Vec<u8>, name: &str, value: Option<u64>) {
    key(out, name);
    match value {
        None => out.extend_from_slice(b"null"),
        Some(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

fn credits(out: &mut Vec<u8>, name: &str, value: Option<Credits>) {
    key(out, name);
    // Numbers, into memory: this cannot fail.
    drop(serde_json::to_writer(out, &value));
}

/// To the microsecond.
fn seconds(out: &mut Vec<u8>, name: &str, value: Option<Duration>) {
    count(out, name, value.map(|value| value.as_secs()));
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

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_one_json_object_whatever_is_in_it(
            odd in ".*", status in proptest::option::of(100..600u16), micros in 0..u64::MAX / 1000, count in any::<u64>(),
        ) {
            let time = Duration::from_micros(micros);
            let line = Line {
                timestamp: Timestamp::UNIX_EPOCH,
                request_id: &odd,
                team: Some(&odd),
                key_id: None,
                method: "POST",
                route: Some("video_chat"),
                analysis_id: None,
                http_version: "1.1",
                status,
                outcome: "completed",
                code: None,
                stream: true,
                finish: Some("completed"),
                response_id: Some(&odd),
                credits: Some(Credits::from_millionths(count / 2)),
                booked: None,
                basis: Some("final"),
                input_tokens: Some(count),
                output_tokens: None,
                response_bytes: count,
                total: time,
                first_byte: time,
                upload: Duration::ZERO,
                upstream: None,
                gateway: time,
            };
            let mut out = Vec::new();
            line.write(&mut out);
            prop_assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1);
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read["request_id"].as_str(), Some(odd.as_str()));
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
