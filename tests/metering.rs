//! What a stream cost is read the same however it arrives: any lines in it, any line endings, any frames. Finds are kept
//! in `proptest-regressions/metering.txt` and tried first.

use http::{HeaderMap, HeaderValue, header};
use mavera_gateway::credits::Credits;
use mavera_gateway::meter::{Figures, Finish, Meter, Reading, Usage};
use proptest::prelude::*;

fn read(frames: &[&[u8]]) -> Reading {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    let mut meter = Meter::for_head(&headers, Figures::Usage);
    for frame in frames {
        meter.look(frame);
    }
    meter.finish(true)
}

/// A block of lines that ends one event, and what its figure is, if it has one.
fn event() -> impl Strategy<Value = (Vec<String>, Option<u64>)> {
    let quiet = prop::sample::select(vec![
        ": keep-alive",
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"usage\\\":{\\\"credits_used\\\":9}\"}",
        "event: response.in_progress",
        "id: 7",
        "data",
        "",
    ]);
    let quiet = prop::collection::vec(quiet, 1..4)
        .prop_map(|lines| (lines.into_iter().map(str::to_owned).collect(), None));
    let new = (0u64..1000).prop_map(|credits| {
        let lines =
            ["event: response.completed".to_owned(), "data: {\"type\":\"response.completed\",".to_owned()];
        let rest = format!("data: \"response\":{{\"usage\":{{\"credits_used\":{credits}}}}}}}");
        (lines.into_iter().chain([rest]).collect(), Some(credits))
    });
    let old = (0u64..1000).prop_map(|credits| {
        (vec![format!("data:{{\"choices\":[],\"usage\":{{\"credits_used\":{credits}}}}}")], Some(credits))
    });
    prop_oneof![4 => quiet, 1 => new, 1 => old]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_stream_is_read_the_same_in_any_frames(
        events in prop::collection::vec(event(), 0..6),
        endings in prop::collection::vec(prop::sample::select(ENDINGS.to_vec()), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let lines = events.iter().flat_map(|(lines, _)| lines.iter().map(String::as_str).chain([""]));
        let mut stream = String::new();
        for (line, ending) in lines.zip(endings.iter().cycle()) {
            // Right behind a carriage return, a line feed would end no line of its own.
            let joined = stream.ends_with('\r') && line.is_empty() && *ending == "\n";
            stream.extend([line, if joined { "\r\n" } else { ending }]);
        }
        let stream = stream.as_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let frames: Vec<_> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        let credits = events.iter().rev().find_map(|(_, credits)| *credits);
        let expected = Reading {
            usage: Usage { credits: credits.map(Credits::whole), ..Usage::default() },
            response_id: None,
            finish: credits.map(|_| Finish::Completed),
            ..Reading::default()
        };
        prop_assert_eq!(&read(&[stream]), &expected);
        prop_assert_eq!(&read(&frames), &expected);
        let bytes: Vec<_> = stream.chunks(1).collect();
        prop_assert_eq!(&read(&bytes), &expected);
    }
}

/// Ways of ending a line; a stream may use them side by side.
const ENDINGS: [&str; 3] = ["\n", "\r\n", "\r"];
