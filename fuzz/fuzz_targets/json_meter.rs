//! A JSON answer: whatever it is and however it is cut, the meter reads the same of it, and what a reader of the
//! whole document reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mavera_gateway::credits::Credits;
use mavera_gateway_fuzz::{json, meter};
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let reading = meter::metered("application/json", body);
    if let Some(document) = meter::Document::read(body) {
        assert_eq!(reading.usage, document.usage.unwrap_or_default());
        assert_eq!(reading.response_id, document.id);
    }
    // The reader that judges is judged too.
    let (ours, theirs) = (json::read(body), serde_json::from_slice::<Value>(body));
    match (&ours, &theirs) {
        (None, Ok(value)) => panic!("the reference refuses {value}"),
        // serde_json stops at 128 levels, at numbers that are no float and at halves of surrogate pairs.
        (Some(json), Err(error)) => {
            let text = String::from_utf8_lossy(body);
            let excused =
                json.depth() > 127 || text.contains("\\u") || text.contains(['e', 'E']) || body.len() > 300;
            assert!(excused, "the reference takes what serde_json refuses: {error}");
        }
        _ => {}
    }
    // The documented place, by the reader that everybody uses; where it is given twice, the last counts in both.
    if let Ok(value) = theirs
        && value.get("response").is_none()
        && meter::Document::read(body).is_some()
    {
        let credits = value.pointer("/usage/credits_used").and_then(Value::as_u64);
        let credits = credits.filter(|credits| *credits <= 1_000_000_000);
        if let Some(credits) = credits {
            assert_eq!(reading.usage.credits.map(Credits::millionths), Some(credits * 1_000_000));
        }
    }
});
