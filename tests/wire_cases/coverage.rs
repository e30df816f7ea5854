//! Every case has its test: a row of a table, or a test of its own somewhere in this repository.

use std::collections::BTreeSet;
use std::path::Path;

use super::{fields, framing, gateway, http2, size_and_time, target, upstream_answers};

/// Cases that no table holds, or not wholly: where their tests are.
const NAMED: [(u16, &str, &str); 36] = [
    (28, "wire_cases/framing.rs", "a_body_that_comes_after_its_refusal_is_never_run"),
    (54, "wire_cases/fields.rs", "fields_that_are_ours_are_written_by_us"),
    (59, "wire_cases/fields.rs", "a_body_is_asked_for_only_from_whom_it_is_wanted"),
    (60, "wire_cases/fields.rs", "a_body_is_asked_for_only_from_whom_it_is_wanted"),
    (62, "upstream_faults.rs", "what_goes_upstream_is_one_request_of_ours"),
    (69, "silent_callers.rs", "a_head_that_comes_a_byte_at_a_time_is_cut_on_its_deadline"),
    (69, "wire_cases/size_and_time.rs", "a_body_that_comes_a_byte_at_a_time_is_cut_on_its_deadline"),
    (70, "streaming.rs", "a_caller_that_stops_reading_stops_the_upstream_read"),
    (70, "streaming.rs", "a_caller_that_never_reads_again_is_cut_on_its_deadline_and_recorded"),
    (71, "silent_callers.rs", "a_connection_that_says_nothing_is_closed"),
    (71, "wire_cases/kernel.rs", "connections_that_say_nothing_give_their_places_back"),
    (71, "slow_callers.rs", "two_thousand_slow_heads_are_cut_and_nobody_waits_for_them"),
    (72, "wire_cases/size_and_time.rs", "a_thousand_pipelined_requests_are_served_in_order_one_at_a_time"),
    (73, "wire_cases/size_and_time.rs", "requests_of_http_1_behind_the_preface_of_http_2_are_not_served"),
    (84, "upstream_faults.rs", "interim_answers_do_not_stop_the_first_byte_deadline"),
    (86, "upstream_faults.rs", "a_second_answer_glued_to_the_first_reaches_nobody"),
    (89, "upstream_faults.rs", "a_key_that_the_upstream_echoes_is_masked_and_the_framing_holds"),
    (89, "upstream_faults.rs", "a_refused_key_is_ours_to_explain_and_never_the_callers"),
    (90, "upstream_faults.rs", "answers_pass_as_they_are_with_only_the_listed_fields"),
    (91, "upstream_faults.rs", "an_answer_before_the_end_of_the_upload_is_relayed"),
    (92, "floods.rs", "streams_that_are_reset_as_soon_as_they_are_opened_end_the_connection"),
    (93, "floods.rs", "games_with_windows_end_the_stream_or_the_connection"),
    (94, "floods.rs", "a_head_that_goes_on_for_ever_is_cut"),
    (95, "floods.rs", "ten_thousand_empty_frames_of_a_body_are_too_many"),
    (96, "floods.rs", "pings_and_settings_whose_answers_nobody_reads_are_held_back"),
    (97, "floods.rs", "a_head_that_unpacks_to_more_than_is_allowed_is_refused"),
    (98, "floods.rs", "more_streams_than_are_allowed_are_refused_one_by_one"),
    (
        102,
        "wire_cases/http2_resets.rs",
        "calls_that_are_reset_as_soon_as_they_are_admitted_are_no_flood_upstream",
    ),
    (105, "wire_cases/gateway.rs", "a_stream_means_the_same_however_it_is_written_and_cut"),
    (105, "transparency.rs", "ten_thousand_generated_streams_pass_unchanged_and_are_metered"),
    (106, "wire_cases/gateway.rs", "a_stream_means_the_same_however_it_is_written_and_cut"),
    (108, "wire_cases/gateway.rs", "a_key_taken_away_during_a_stream_ends_with_it"),
    (
        109,
        "wire_cases/gateway.rs",
        "an_error_says_nothing_of_what_is_behind_the_gateway_or_beside_the_caller",
    ),
    (110, "refusals.rs", "every_kind_of_bad_key_gets_the_same_answer"),
    (111, "admin.rs", "probes_and_metrics_are_there_and_nothing_else"),
    (112, "wire_cases/gateway.rs", "the_same_idempotency_key_of_two_teams_is_two_calls"),
];

#[test]
fn every_case_has_a_row_or_a_test_of_its_own() {
    let tables =
        [framing::cases(), target::cases(), fields::cases(), size_and_time::cases(), gateway::cases()];
    let mut covered: BTreeSet<u16> = tables.iter().flatten().map(|case| case.row).collect();
    covered.extend(upstream_answers::cases().iter().map(|case| case.row));
    covered.extend(http2::cases().iter().map(|case| case.row));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (row, file, name) in NAMED {
        let text = std::fs::read_to_string(tests.join(file)).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{row}: there is no {name} in {file}");
        covered.insert(row);
    }
    let missing: Vec<_> = (1..=112).filter(|row| !covered.contains(row)).collect();
    assert!(missing.is_empty(), "{missing:?} have no test");
    assert_eq!(covered.len(), 112);
}
