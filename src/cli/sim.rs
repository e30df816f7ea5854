//! `sim`: the simulated Mavera API alone.

use std::net::SocketAddr;
use std::time::Duration;

use super::failure::{Failure, say};
use crate::clock::Clock;
use crate::config::values::DurationText;
use crate::server::event_loop;
use mavera_sim::quirks::Quirks;
use mavera_sim::{DEMO_ANALYSIS, KeyState, Settings, SimKey, Simulator};

#[derive(Debug, clap::Args)]
pub(super) struct SimArguments {
    /// Address and port to listen on; port 0 for any.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The live key of the simulated organisation.
    #[arg(long, value_name = "KEY", default_value = "mvra_live_simulated_key_not_a_secret_000000")]
    key: String,
    /// A further key and its state, as STATE=KEY; states are live, revoked, expired and lapsed.
    #[arg(long, value_name = "STATE=KEY")]
    other_key: Vec<String>,
    /// Requests per sliding minute and key.
    #[arg(long, value_name = "N", default_value_t = 240)]
    requests_per_minute: usize,
    /// Credits of the month.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    credits: u64,
    /// Cap on what API calls may spend, as a workspace can have.
    #[arg(long, value_name = "N")]
    workspace_budget: Option<u64>,
    /// Buy credits when fewer than THRESHOLD remain.
    #[arg(long, value_name = "THRESHOLD:AMOUNT")]
    auto_recharge: Option<String>,
    /// Credits that dashboard users spend per minute, beside the API.
    #[arg(long, value_name = "N", default_value_t = 0)]
    dashboard_per_minute: u64,
    /// How long a created analysis takes.
    #[arg(long, value_name = "TIME", default_value = "2m")]
    analysis_time: String,
    /// How long a created focus group takes.
    #[arg(long, value_name = "TIME", default_value = "1m")]
    focus_group_time: String,
    /// Deviations, as "name=value; name=value". See `sim/src/quirks.rs` for all.
    #[arg(long, value_name = "QUIRKS", default_value = "")]
    quirks: String,
    /// Requests to keep in the books that GET /sim/books shows.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    remember: usize,
}

pub(super) fn run(arguments: &SimArguments) -> Result<(), Failure> {
    let settings = settings(arguments).map_err(Failure::Usage)?;
    event_loop()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
        say!("simulated Mavera API on http://{}/api/v1, analysis {DEMO_ANALYSIS}", listener.local_addr()?)?;
        let clock = Clock::system();
        mavera_sim::serve(listener, Simulator::new(settings, move || clock.wall())).await?;
        Ok(())
    })
}

fn settings(arguments: &SimArguments) -> Result<Settings, String> {
    let mut settings = Settings::with_key(&arguments.key);
    for text in &arguments.other_key {
        let (state, key) = text.split_once('=').ok_or("--other-key takes STATE=KEY")?;
        let state = match state {
            "live" => KeyState::Live,
            "revoked" => KeyState::Revoked,
            "expired" => KeyState::Expired,
            "lapsed" => KeyState::Lapsed,
            _ => return Err(format!("--other-key: {state:?} is none of live, revoked, expired, lapsed")),
        };
        settings.keys.push(SimKey { text: key.to_owned(), state });
    }
    if let Some(text) = &arguments.auto_recharge {
        let pair = text
            .split_once(':')
            .and_then(|(threshold, amount)| Some((threshold.parse().ok()?, amount.parse().ok()?)));
        settings.recharge = Some(pair.ok_or("--auto-recharge takes THRESHOLD:AMOUNT")?);
    }
    let DurationText(analysis_time) = arguments.analysis_time.parse()?;
    let DurationText(focus_group_time) = arguments.focus_group_time.parse()?;
    Ok(Settings {
        requests_per_minute: arguments.requests_per_minute,
        credits: arguments.credits,
        workspace_budget: arguments.workspace_budget,
        dashboard_per_minute: arguments.dashboard_per_minute,
        analysis_time: analysis_time.max(Duration::from_millis(1)),
        focus_group_time: focus_group_time.max(Duration::from_millis(1)),
        quirks: Quirks::default().with(&arguments.quirks)?,
        remember: arguments.remember,
        ..settings
    })
}
