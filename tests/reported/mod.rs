//! What users of such programs have run into, each kind with the test that shows what is right.

mod callers_behind_proxies;
mod clients;
mod commands;
mod ends;
mod in_front;
mod money;
mod refusals_arrive;
mod small;

use std::path::Path;

/// Each kind, and its tests: the files are those of this folder, or of the one above.
const KINDS: [(&str, &[(&str, &str)]); 30] = [
    (
        "a refusal is lost while the body is still coming",
        &[
            ("reported/refusals_arrive.rs", "a_refusal_arrives_behind_a_body_of_any_size"),
            (
                "reported/refusals_arrive.rs",
                "curl_gets_the_refusal_on_http_1_1_and_on_http_2_in_clear_and_with_tls",
            ),
            ("reported/clients.rs", "python_node_and_java_get_the_refusal_behind_a_body_of_any_size"),
        ],
    ),
    (
        "a broken stream looks whole",
        &[
            (
                "reported/ends.rs",
                "an_answer_without_framing_that_breaks_is_a_reset_and_one_that_does_not_is_whole",
            ),
            ("reported/in_front.rs", "everything_passes_an_nginx_with_nothing_set"),
        ],
    ),
    (
        "an outcome by transport, not by what was said",
        &[
            ("reported/ends.rs", "an_answer_is_over_when_it_says_so"),
            ("reported/clients.rs", "the_openai_sdks_leave_at_the_end_of_a_stream_and_it_was_complete"),
        ],
    ),
    (
        "an end of input taken for departure",
        &[
            ("reported/ends.rs", "who_half_closes_behind_a_whole_request_gets_its_answer"),
            ("reported/ends.rs", "who_leaves_while_its_call_waits_is_told_from_who_half_closes"),
        ],
    ),
    (
        "a reader chosen by the label alone",
        &[(
            "streaming.rs",
            "a_stream_that_is_not_labelled_as_one_is_metered_as_what_it_is_and_passed_on_as_it_came",
        )],
    ),
    (
        "stricter than the upstream",
        &[("reported/small.rs", "what_the_gateway_need_not_know_is_the_upstreams_to_judge")],
    ),
    (
        "buffered behind a proxy",
        &[
            ("reported/in_front.rs", "everything_passes_nginx_and_haproxy_as_they_are_shipped"),
            ("reported/in_front.rs", "everything_passes_an_nginx_with_nothing_set"),
        ],
    ),
    (
        "repeated and paid again",
        &[("reported/clients.rs", "what_the_documents_say_of_clients_is_what_they_do")],
    ),
    (
        "thinking is cut",
        &[("reported/commands.rs", "silence_in_a_stream_is_borne_as_long_as_before_its_first_byte")],
    ),
    (
        "the server lets go first",
        &[
            ("reported/ends.rs", "an_idle_connection_is_kept_longer_than_a_head_may_take"),
            ("reported/in_front.rs", "an_idle_connection_of_nginx_is_good_for_the_next_call"),
        ],
    ),
    (
        "one setting bounds one protocol only",
        &[("reported/small.rs", "an_http2_stream_that_nobody_reads_is_cut_after_the_write_timeout")],
    ),
    (
        "small things of the wire",
        &[
            ("reported/small.rs", "a_name_that_is_no_text_goes_on_as_it_came"),
            ("reported/small.rs", "an_expectation_that_cannot_be_met_is_refused"),
            (
                "reported/small.rs",
                "who_waits_on_http_2_to_be_asked_for_its_body_is_told_soon_that_nobody_asks",
            ),
            ("silent_callers.rs", "a_head_that_comes_a_byte_at_a_time_is_cut_on_its_deadline"),
            ("reported/small.rs", "head_is_answered_as_get_without_a_body"),
            ("reported/small.rs", "browsers_get_no_cors"),
        ],
    ),
    (
        "two writers of one ledger",
        &[
            (
                "reported/money.rs",
                "a_second_writer_is_refused_by_whatever_name_and_also_without_its_lock_file",
            ),
            (
                "reported/money.rs",
                "a_ledger_that_another_has_written_to_closes_for_money_and_no_entry_is_left_out",
            ),
        ],
    ),
    (
        "the ledger is gone and nobody looks",
        &[("ledger.rs", "a_ledger_that_is_moved_replaced_or_removed_closes_for_money_until_it_is_back")],
    ),
    (
        "an empty file is a valid configuration",
        &[("reload.rs", "a_file_that_lost_every_team_is_refused_unless_that_is_what_it_says")],
    ),
    (
        "a configuration is read twice",
        &[("configuration.rs", "a_configuration_that_comes_by_a_pipe_is_read_once_and_whole")],
    ),
    (
        "words and effect of a grant differ",
        &[
            ("reported/money.rs", "a_grant_is_given_once_in_all_and_not_once_a_period"),
            ("reported/money.rs", "a_grant_is_listed_and_taken_back"),
        ],
    ),
    (
        "a clock that leapt and came back",
        &[("reported/money.rs", "a_clock_that_leapt_is_followed_back_and_nothing_is_forgotten")],
    ),
    (
        "whole days against a moment",
        &[("reported/money.rs", "a_billing_period_begins_and_ends_at_a_moment_of_a_day")],
    ),
    (
        "a statement held against all history, and how it is written",
        &[("reported/money.rs", "a_statement_tells_of_its_own_days_however_it_is_written")],
    ),
    (
        "commands that make what they should find",
        &[("reported/commands.rs", "a_command_that_reads_or_corrects_makes_no_ledger")],
    ),
    (
        "a blocking read on the control thread",
        &[("shutdown.rs", "a_key_file_that_does_not_come_keeps_nobody_waiting")],
    ),
    (
        "signals before they are handled",
        &[("shutdown.rs", "a_start_that_waits_for_a_file_ends_when_it_is_told_to")],
    ),
    (
        "series never go",
        &[
            ("reported/money.rs", "a_team_that_is_gone_takes_its_series_along_and_five_hundred_have_few"),
            ("reported/money.rs", "the_last_calls_of_a_team_that_is_gone_bring_no_series_back"),
        ],
    ),
    (
        "asking counts",
        &[("reported/money.rs", "asking_costs_nothing_of_what_it_tells_of_and_has_a_bound_of_its_own")],
    ),
    (
        "no warning before a key expires",
        &[("reported/money.rs", "a_key_that_expires_is_told_of_by_check_start_log_and_gauge")],
    ),
    (
        "the validator passes what the start refuses",
        &[
            ("configuration.rs", "check_does_not_pass_a_ledger_that_serve_would_not_open"),
            ("reported/commands.rs", "check_tries_the_addresses_as_a_start_does"),
        ],
    ),
    (
        "a full log disk, and a pipe that closes",
        &[
            ("commands.rs", "a_reader_that_stops_reading_ends_a_command_quietly"),
            ("reported/commands.rs", "lines_that_a_full_disk_takes_are_counted"),
        ],
    ),
    ("what a field means", &[("reported/money.rs", "x_ratelimit_is_the_callers_own_on_every_answer")]),
    (
        "small things of commands",
        &[("reported/commands.rs", "small_things_say_what_they_are_and_how_to_mend_them")],
    ),
];

#[test]
fn every_kind_has_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (kind, shown) in KINDS {
        assert!(!shown.is_empty(), "{kind}");
        for (file, name) in shown {
            let text = std::fs::read_to_string(tests.join(file)).unwrap_or_default();
            assert!(text.contains(&format!("fn {name}(")), "{kind}: {file} has no test {name}");
        }
    }
}
