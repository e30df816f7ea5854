//! The digest of the entries that a statement rests on: whoever has it can tell later whether they are still the same.

use std::fmt::Write;

use serde::Serialize;

use crate::credits::budget::Grant;
use crate::digest::sha256;
use crate::ledger::{EnteredGrant, Stated};

/// The entries, as numbers and as a digest.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RestsOn {
    pub(super) calls: usize,
    pub(super) corrections: usize,
    pub(super) grants: usize,
    /// Of a line for each of them, in order.
    pub(super) sha256: String,
}

/// A line for each entry, with all that the ledger has of it and the bill goes by.
pub(super) fn rests_on(stated: &Stated, grants: &[EnteredGrant]) -> RestsOn {
    let mut text = String::new();
    for call in &stated.calls {
        let response = call.response_id.as_deref().unwrap_or_default();
        // Into memory: this cannot fail.
        let _ = writeln!(
            text,
            "call {} {} {} {} {} {response} {:?} {}",
            call.call,
            call.day,
            call.key_id,
            call.route,
            call.request_id,
            call.booked,
            call.credits.millionths()
        );
    }
    for correction in &stated.corrections {
        let _ = writeln!(
            text,
            "correction {} {} {} {}",
            correction.number, correction.call, correction.millionths, correction.why
        );
    }
    for EnteredGrant { number, grant, why } in grants {
        let Grant { credits, from, until, taken_back, .. } = grant;
        let _ = writeln!(text, "grant {number} {credits} {from} {until} {taken_back} {why}");
    }
    RestsOn {
        calls: stated.calls.len(),
        corrections: stated.corrections.len(),
        grants: grants.len(),
        sha256: hex::encode(sha256(text.as_bytes())),
    }
}
