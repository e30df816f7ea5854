//! A configuration: whatever the file says, it is taken as a whole and within its bounds, or refused with problems that
//! each name their line and none of which repeats a key.
#![no_main]

use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mavera_gateway::config::problem::Problems;
use mavera_gateway::config::{Config, is_team_name, parse};

fuzz_target!(|text: &str| {
    match parse(Path::new("gateway.toml"), text) {
        Ok(config) => valid(&config),
        Err(problems) => explained(&problems, text),
    }
});

fn valid(config: &Config) {
    let Config { server, upstream, credits, retries, teams, tracing, .. } = config;
    let day = Duration::from_hours(24);
    let hour = Duration::from_hours(1);
    let second = Duration::from_secs(1);
    assert!(server.drain_timeout <= day);
    for timeout in [server.head_timeout, server.body_timeout, server.write_timeout] {
        assert!((second..=hour).contains(&timeout), "{timeout:?}");
    }
    let timeouts = upstream.timeouts;
    for timeout in [timeouts.connect, timeouts.first_byte, timeouts.idle, timeouts.total] {
        assert!((second..=day).contains(&timeout), "{timeout:?}");
    }
    assert!((8 << 10..=256 << 10).contains(&server.max_head));
    assert!(server.max_connections > 0 && server.max_streams > 0 && server.workers > 0);
    let url = &upstream.base_url;
    let host = url.host().expect("an upstream has a host");
    let loopback =
        host == "localhost" || host == "[::1]" || host.starts_with("127.") || host.starts_with("[::ffff:");
    assert!(url.scheme_str() == Some("https") || (url.scheme_str() == Some("http") && loopback), "{url}");
    assert!(
        !url.authority().expect("a host has an authority").as_str().contains('@') && url.query().is_none()
    );
    assert!(credits.wait <= Duration::from_mins(5));
    assert!(retries.bodies.keep <= retries.keep && retries.bodies.max_body <= retries.bodies.total);
    let names: Vec<_> = teams.iter().map(|team| &team.name).collect();
    let ids: Vec<_> = teams.iter().flat_map(|team| &team.keys).map(|key| &key.id).collect();
    let digests: Vec<_> = teams.iter().flat_map(|team| &team.keys).map(|key| key.digest).collect();
    assert!(names.iter().all(|name| is_team_name(name)));
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name), "two teams {name:?}");
    }
    for (index, (id, digest)) in ids.iter().zip(&digests).enumerate() {
        assert!(
            !ids[..index].contains(id) && !digests[..index].contains(digest),
            "key {id:?} is there twice"
        );
    }
    for team in teams {
        assert!(team.limits.concurrency > 0 && team.limits.max_body > 0, "{:?}", team.limits);
    }
    if let Some(tracing) = tracing {
        assert!((0.0..=1.0).contains(&tracing.sample_ratio));
        assert!(!tracing.endpoint.authority().is_some_and(|authority| authority.as_str().contains('@')));
    }
}

fn explained(problems: &Problems, text: &str) {
    assert!(!problems.list.is_empty(), "refused without a problem");
    let lines = text.matches('\n').count() + 1;
    for problem in &problems.list {
        // The one thing that the reader of TOML says without a place.
        let nowhere = problem.key.is_empty() && problem.message == "recursion limit";
        assert!(
            problem.line.map_or(nowhere, |line| (1..=lines).contains(&line)),
            "{problem:?} of {lines} lines"
        );
        assert!(!problem.message.is_empty(), "{problem:?}");
    }
    assert!(problems.list.is_sorted_by_key(|problem| problem.line), "not in the order of lines");
    let told = problems.to_string();
    for prefix in ["mvra_", "mvgw_"] {
        for (at, _) in told.match_indices(prefix) {
            let next = told[at + prefix.len()..].chars().next();
            assert!(
                !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'),
                "a key is told: {told}"
            );
        }
    }
    assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
}
