//! Budgets: never overspent, never refused wrongly, explained when they bind.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::tz::TimeZone;
use mavera_gateway::books::admission::Asked;
use mavera_gateway::books::hold::{Closing, Hold};
use mavera_gateway::books::job::Told;
use mavera_gateway::books::keeper::Keeper;
use mavera_gateway::books::queue_counts::QueueCounts;
use mavera_gateway::clock::Clock;
use mavera_gateway::config::{Credits as Settings, Reserve, parse};
use mavera_gateway::credits::Credits;
use mavera_gateway::credits::budget::{Budget, Budgets, Grant, Whose};
use mavera_gateway::credits::period::Period;
use mavera_gateway::ledger::{Aside, Basis, Ending, Ledger, NewEnding, NewHold, Note, Receipt};
use mavera_gateway::meter::Usage;
use mavera_gateway::metrics::Metrics;
use mavera_gateway::refuse::Refusal;
use mavera_gateway::route::Route;
use tokio::sync::oneshot;

use crate::support::rig::{Rig, Setup};
use crate::support::{chat_body, queue};

/// A ledger that only counts, and answers after a while of its own choosing.
#[derive(Debug, Default)]
pub struct Counting {
    seed: AtomicUsize,
    holds: AtomicUsize,
    endings: AtomicUsize,
}

impl Ledger for Counting {
    fn hold(&self, _: NewHold) -> Receipt {
        self.holds.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        let wait = self.seed.fetch_add(7919, Ordering::Relaxed) % 13;
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait as u64)).await;
            let _ = answer.send(Ok(()));
        });
        Receipt::Waiting(receiver)
    }

    fn end(&self, _: NewEnding) {
        self.endings.fetch_add(1, Ordering::Relaxed);
    }

    fn aside(&self, _: Aside) {}

    fn note(&self, _: Note) {}

    fn flush(&self) {}
}

pub fn settings(reserve: u64, wait: u64) -> Settings {
    Settings {
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        reserve: Reserve::Fixed(Credits::whole(reserve)),
        wait: Duration::from_secs(wait),
        budget: None,
        price: None,
    }
}

pub fn asked(team: &str, budgets: &[(Whose, u64, Period)]) -> Asked<'static> {
    let budgets = budgets.iter().map(|(whose, credits, period)| {
        (whose.clone(), Budget { credits: Credits::whole(*credits), period: *period })
    });
    let mut asked = queue::asked(team, Duration::from_secs(20));
    (asked.ask.costs, asked.ask.budgets) = (true, Budgets(budgets.collect()));
    asked
}

/// Holds credits, as a call under these settings would.
pub async fn hold_for(
    desk: &Arc<Keeper>,
    mut asked: Asked<'_>,
    settings: &Settings,
) -> Result<Hold, Refusal> {
    asked.ask.reserve = desk.reserve(settings, Route::all().nth(asked.ask.route).unwrap());
    asked.ask.patience.credits = settings.wait;
    let admission = desk.admit(asked, None).await.map_err(|denied| denied.refusal)?;
    Ok(admission.hold.expect("it costs"))
}

pub fn settle(hold: Hold, credits: u64) {
    hold.end(Closing {
        ending: Ending::Settled { credits: Credits::whole(credits), basis: Basis::Final, reason: "" },
        outcome: "completed",
        response_id: None,
        usage: Usage::default(),
        at: jiff::Timestamp::UNIX_EPOCH,
        sent_at: None,
        copies: 0,
        job: Told::default(),
    });
}

pub fn accounts_at(wall: &str, pushed: &'static AtomicI64) -> (Arc<Keeper>, Arc<Counting>) {
    let clock = Clock::starting_at(wall.parse().unwrap()).pushed_by(pushed);
    let ledger = Arc::new(Counting::default());
    let text = "[upstream]\nrequests_per_minute = 100000000\n[credits]\ntime_zone = \"Europe/Berlin\"\n";
    let config = parse(std::path::Path::new("gateway.toml"), text).unwrap();
    let counts = QueueCounts::new(&Metrics::new());
    (Keeper::new(Arc::clone(&ledger) as _, clock, &config, counts, 0, &[]), ledger)
}

fn accounts() -> (Arc<Keeper>, Arc<Counting>) {
    static STILL: AtomicI64 = AtomicI64::new(0);
    accounts_at("2030-01-15T12:00:00Z", &STILL)
}

#[tokio::test(start_paused = true)]
async fn a_budget_for_a_hundred_calls_admits_exactly_a_hundred_of_a_thousand_at_once() {
    for seed in 0..200 {
        let (accounts, ledger) = accounts();
        ledger.seed.store(seed, Ordering::Relaxed);
        // Three reserves for three budgets, of which the team's is the tightest.
        let budgets =
            [(Whose::Organisation, 1000, Period::Month), (Whose::Team("growth".into()), 300, Period::Week)];
        let calls: Vec<_> = (0..1000)
            .map(|n: usize| {
                let (accounts, asked) = (Arc::clone(&accounts), asked("growth", &budgets));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis((n * (seed + 1) % 17) as u64)).await;
                    let hold = hold_for(&accounts, asked, &settings(3, 2)).await.ok()?;
                    tokio::time::sleep(Duration::from_millis((n * 31 % 23) as u64)).await;
                    settle(hold, 3);
                    Some(())
                })
            })
            .collect();
        let mut admitted = 0;
        for call in calls {
            admitted += usize::from(call.await.unwrap().is_some());
        }
        assert_eq!(admitted, 100, "seed {seed}");
        assert_eq!((accounts.open_holds(), accounts.held(&Whose::Organisation)), (0, Credits::ZERO));
        let (holds, endings) = (ledger.holds.load(Ordering::Relaxed), ledger.endings.load(Ordering::Relaxed));
        assert_eq!((holds, endings), (100, 100), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_what_others_hold_and_is_not_refused_wrongly() {
    let (accounts, _) = accounts();
    let budget = [(Whose::Team("growth".into()), 6, Period::Day)];
    let first = hold_for(&accounts, asked("growth", &budget), &settings(5, 10)).await.unwrap();
    let waiting = tokio::spawn({
        let (accounts, asked) = (Arc::clone(&accounts), asked("growth", &budget));
        async move { hold_for(&accounts, asked, &settings(5, 10)).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!waiting.is_finished(), "one credit is free, five are held: it may yet fit");
    settle(first, 1);
    assert_eq!(waiting.await.unwrap(), Ok(()));
    // Spent, and nothing held: refused at once, with the numbers.
    let hold = hold_for(&accounts, asked("growth", &budget), &settings(5, 10)).await.unwrap();
    settle(hold, 4);
    let before = tokio::time::Instant::now();
    let refusal = hold_for(&accounts, asked("growth", &budget), &settings(5, 10)).await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(
        refusal.message(),
        "Team growth has used 5 of 6 credits of this day, and 0 are held for calls in flight; a call needs 5 to be \
         free. The budget resets at 2030-01-16T00:00:00+01:00."
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_has_its_bound() {
    let (accounts, _) = accounts();
    let budget = [(Whose::Organisation, 5, Period::Day)];
    let _held = hold_for(&accounts, asked("growth", &budget), &settings(5, 10)).await.unwrap();
    let before = tokio::time::Instant::now();
    let refusal = hold_for(&accounts, asked("research", &budget), &settings(5, 10)).await.unwrap_err();
    assert!(matches!(refusal, Refusal::CreditsHeld { .. }));
    assert_eq!(before.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_admitted_when_the_period_begins_anew() {
    static STILL: AtomicI64 = AtomicI64::new(0);
    // Four seconds before midnight in Berlin.
    let (accounts, _) = accounts_at("2030-01-15T22:59:56Z", &STILL);
    let budget = [(Whose::Team("growth".into()), 5, Period::Day)];
    settle(hold_for(&accounts, asked("growth", &budget), &settings(5, 10)).await.unwrap(), 5);
    let before = tokio::time::Instant::now();
    assert!(
        hold_for(&accounts, asked("growth", &budget), &settings(5, 3)).await.is_err(),
        "not within its wait"
    );
    assert_eq!(before.elapsed(), Duration::ZERO);
    let _held = hold_for(&accounts, asked("growth", &budget), &settings(5, 10)).await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 4);
    // What an earlier period holds is in nobody's way.
    assert_eq!(accounts.held(&Whose::Organisation), Credits::whole(5));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_spent_is_told_before_one_that_others_hold() {
    let (accounts, _) = accounts();
    let budgets = [(Whose::Organisation, 10, Period::Day), (Whose::Team("growth".into()), 5, Period::Day)];
    settle(hold_for(&accounts, asked("growth", &budgets), &settings(5, 10)).await.unwrap(), 5);
    let _held = hold_for(&accounts, asked("research", &budgets[..1]), &settings(5, 10)).await.unwrap();
    let before = tokio::time::Instant::now();
    let refusal = hold_for(&accounts, asked("growth", &budgets), &settings(5, 10)).await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::ZERO, "waiting could not help");
    assert!(refusal.message().starts_with("Team growth has used 5 of 5"), "{}", refusal.message());
}

#[tokio::test(start_paused = true)]
async fn a_shortage_that_passes_is_told_as_one() {
    let setup = Setup {
        credits: "reserve = 5\nwait = \"0s\"\nbudget = { credits = 8, period = \"month\" }".into(),
        ..Setup::default()
    };
    let (rig, _) = Rig::with_simulator(&setup);
    let mut first = rig.connect().await;
    let streaming = first.send_request(rig.chat(chat_body(true, "pace=1s"))).await.unwrap();
    let refused = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!((refused.status().as_u16(), refused.code().as_str()), (429, "credits_held"));
    assert_eq!((refused.header("retry-after"), refused.header("x-should-retry")), ("1", ""));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("The organisation has 3 credits free, and 5 are held"), "{message}");
    let explained = rig.request(http::Method::POST, "/gateway/v1/explain", chat_body(false, ""));
    let explained = rig.send(explained).await;
    assert_eq!(explained.json()["refusals"][0]["code"], "credits_held");
    assert!(crate::support::rig::Answer::read(streaming).await.whole);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_credits_holds_no_place_of_the_window() {
    // Credits for one call at a time, and five places.
    let setup = Setup {
        upstream: "requests_per_minute = 5".into(),
        credits: "reserve = 5\nwait = \"30s\"\nbudget = { credits = 9, period = \"month\" }".into(),
        ..Setup::default()
    };
    let (rig, simulator) = Rig::with_simulator(&setup);
    let mut first = rig.connect().await;
    let streaming = first.send_request(rig.chat(chat_body(true, "pace=1s"))).await.unwrap();
    let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(rig.send(rig.chat(chat_body(false, ""))))).collect();
    for call in &mut waiting {
        assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err(), "it waits");
    }
    for read in 0..4 {
        let answer = rig.send(rig.request(http::Method::GET, "/api/v1/video-analyses", "")).await;
        assert_eq!(answer.status(), 200, "{read}: {}", answer.json());
    }
    drop(waiting);
    assert!(crate::support::rig::Answer::read(streaming).await.whole);
    assert_eq!(simulator.books(|books| books.received.len()), 5);
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_await_a_hold_ends_once_and_frees_what_it_took() {
    for polls in 0..6 {
        let (accounts, ledger) = accounts();
        let budget = [(Whose::Organisation, 5, Period::Day)];
        let settings_in_force = settings(5, 10);
        let mut holding = Box::pin(hold_for(&accounts, asked("growth", &budget), &settings_in_force));
        for _ in 0..polls {
            if let std::task::Poll::Ready(held) = futures_poll(&mut holding) {
                drop(held);
                break;
            }
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        drop(holding);
        assert_eq!(
            (accounts.open_holds(), accounts.held(&Whose::Organisation)),
            (0, Credits::ZERO),
            "{polls}"
        );
        let (holds, endings) = (ledger.holds.load(Ordering::Relaxed), ledger.endings.load(Ordering::Relaxed));
        assert_eq!(holds, endings, "after {polls} polls");
        assert!(hold_for(&accounts, asked("growth", &budget), &settings(5, 0)).await.is_ok());
    }
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn periods_follow_the_calendar_forwards_and_never_back() {
    static PUSHED: AtomicI64 = AtomicI64::new(0);
    const DAY: i64 = 86_400;
    // 30 January 2028, a leap year, 23:30 in Berlin.
    let (accounts, _) = accounts_at("2028-01-30T22:30:00Z", &PUSHED);
    let month = [(Whose::Organisation, 10, Period::Month)];
    let day = [(Whose::Organisation, 10, Period::Day)];
    let spend = async |budget: &[(Whose, u64, Period)], credits: u64| {
        let hold = hold_for(&accounts, asked("growth", budget), &settings(5, 0)).await?;
        settle(hold, credits);
        Ok::<_, Refusal>(())
    };
    assert!(spend(&month, 10).await.is_ok());
    assert!(spend(&month, 10).await.is_err(), "January is spent");
    PUSHED.store(3600, Ordering::Relaxed);
    assert!(spend(&day, 1).await.is_ok(), "the 31st is a new day");
    assert!(spend(&month, 1).await.is_err(), "and still January");
    PUSHED.store(DAY + 3600, Ordering::Relaxed);
    assert!(spend(&month, 10).await.is_ok(), "February");
    PUSHED.store(0, Ordering::Relaxed);
    assert!(
        spend(&month, 1).await.is_err(),
        "back in January by the clock: February's budget goes on to be spent"
    );
    assert!(spend(&day, 1).await.is_err(), "and the 1st's");
    // To the leap day and past it.
    PUSHED.store(30 * DAY, Ordering::Relaxed);
    assert!(spend(&day, 1).await.is_ok(), "29 February is a day");
    assert!(spend(&month, 1).await.is_err(), "of February");
    PUSHED.store(31 * DAY, Ordering::Relaxed);
    assert!(spend(&month, 1).await.is_ok(), "1 March");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_after_midnight_is_booked_on_the_day_it_was_held() {
    static PUSHED: AtomicI64 = AtomicI64::new(0);
    let (accounts, _) = accounts_at("2028-01-31T22:59:00Z", &PUSHED);
    let month = [(Whose::Organisation, 10, Period::Month)];
    let january = hold_for(&accounts, asked("growth", &month), &settings(5, 0)).await.unwrap();
    PUSHED.store(3600, Ordering::Relaxed);
    settle(january, 9);
    let standing = &accounts.standings(&asked("growth", &month).ask.budgets)[0];
    let tally = standing.tally;
    assert_eq!((tally.used, tally.held), (Credits::ZERO, Credits::ZERO), "February is untouched");
}

#[tokio::test(start_paused = true)]
async fn a_grant_raises_a_budget_while_it_lasts() {
    static PUSHED: AtomicI64 = AtomicI64::new(0);
    let (accounts, _) = accounts_at("2030-01-15T12:00:00Z", &PUSHED);
    let budget = [(Whose::Team("growth".into()), 5, Period::Day)];
    let today = "2030-01-15".parse().unwrap();
    accounts.set_grants(vec![Grant {
        team: "growth".into(),
        credits: Credits::whole(5),
        from: today,
        until: today,
        taken_back: false,
    }]);
    settle(hold_for(&accounts, asked("growth", &budget), &settings(5, 0)).await.unwrap(), 5);
    settle(hold_for(&accounts, asked("growth", &budget), &settings(5, 0)).await.unwrap(), 5);
    assert!(hold_for(&accounts, asked("growth", &budget), &settings(5, 0)).await.is_err());
    PUSHED.store(86_400, Ordering::Relaxed);
    settle(hold_for(&accounts, asked("growth", &budget), &settings(5, 0)).await.unwrap(), 5);
    assert!(
        hold_for(&accounts, asked("growth", &budget), &settings(5, 0)).await.is_err(),
        "the grant is over"
    );
}

#[tokio::test(start_paused = true)]
async fn a_learned_reserve_is_what_the_dearest_recent_calls_cost() {
    let (accounts, _) = accounts();
    let learned = Settings { reserve: Reserve::Learned { floor: Credits::whole(2) }, ..settings(0, 0) };
    assert_eq!(accounts.reserve(&learned, Route::explained()), Credits::whole(2), "nothing learned yet");
    for n in 0..200 {
        let hold = hold_for(&accounts, asked("growth", &[]), &learned).await.unwrap();
        settle(hold, if n % 10 == 0 { 4 } else { 1 });
    }
    assert_eq!(accounts.reserve(&learned, Route::explained()), Credits::whole(4));
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_is_a_402_with_the_numbers_and_what_is_left_is_told_on_every_answer() {
    let setup = Setup {
        credits: "reserve = 1\nbudget = { credits = 3, period = \"month\" }\ntime_zone = \"Europe/Berlin\""
            .into(),
        ..Setup::default()
    };
    let (rig, simulator) = Rig::with_simulator(&setup);
    for left in ["2", "1", "0"] {
        let answer = rig.send(rig.chat(chat_body(left == "1", ""))).await;
        assert_eq!((answer.status().as_u16(), answer.header("x-credits-remaining")), (200, left));
    }
    let refused = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!((refused.status().as_u16(), refused.code().as_str()), (402, "budget_exceeded"));
    assert_eq!((refused.header("x-should-retry"), refused.header("retry-after")), ("false", ""));
    assert_eq!(refused.header("x-credits-remaining"), "0", "where one wants it most");
    let error = &refused.json()["error"];
    assert_eq!(error["type"], "insufficient_credits");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("The organisation has used 3 of 3 credits of this month"), "{message}");
    assert!(message.ends_with("resets at 2030-02-01T00:00:00+01:00."), "{message}");
    assert_eq!(simulator.books(|books| books.received.len()), 3);
    // A reload that changes the budget keeps what was used.
    rig.reconfigure(&Setup {
        credits: "reserve = 1\nbudget = { credits = 4, period = \"week\" }".into(),
        ..Setup::default()
    });
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.header("x-credits-remaining"), "0");
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.status(), 402);
    assert_eq!(
        rig.send(rig.request(http::Method::GET, "/api/v1/video-analyses", "")).await.status(),
        200,
        "reads are free"
    );
}

#[tokio::test(start_paused = true)]
async fn every_refusal_of_a_call_that_costs_says_what_is_left() {
    let setup = Setup {
        team: "requests_per_minute = 60\nburst = 2\nconcurrency = 1".into(),
        credits: "reserve = 1\nbudget = { credits = 3.5, period = \"month\" }".into(),
        ..Setup::default()
    };
    let (rig, _) = Rig::with_simulator(&setup);
    assert_eq!(rig.send(rig.chat(chat_body(false, ""))).await.header("x-credits-remaining"), "2.5");
    let malformed = rig.send(rig.chat("{")).await;
    assert_eq!((malformed.code().as_str(), malformed.header("x-credits-remaining")), ("invalid_json", "2.5"));
    let too_often = rig.send(rig.chat(chat_body(false, ""))).await;
    assert_eq!((too_often.status().as_u16(), too_often.header("x-credits-remaining")), (429, "2.5"));
    let read = rig.send(rig.request(http::Method::GET, "/api/v1/video-analyses", "")).await;
    assert_eq!((read.status().as_u16(), read.header("x-credits-remaining")), (429, ""), "reads cost nothing");
}

#[tokio::test(start_paused = true)]
async fn a_threshold_is_passed_when_its_percentage_is_spent() {
    let (accounts, _) = accounts();
    let budget = [(Whose::Team("growth".into()), 100, Period::Month)];
    let threshold = || accounts.standings(&asked("growth", &budget).ask.budgets)[0].tally.threshold();
    let mut passed = Vec::new();
    for _ in 0..100 {
        settle(hold_for(&accounts, asked("growth", &budget), &settings(1, 0)).await.unwrap(), 1);
        passed.push(threshold());
    }
    for (spent, expected) in [(49, 0), (50, 50), (74, 50), (75, 75), (90, 90), (99, 90), (100, 100)] {
        assert_eq!(passed[spent - 1], expected, "{spent}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_credits_is_told_apart_from_the_gateways_own_time() {
    let setup = Setup {
        credits: "reserve = 5\nwait = \"60s\"\nbudget = { credits = 8, period = \"month\" }".into(),
        ..Setup::default()
    };
    let (rig, _) = Rig::with_simulator(&setup);
    // It holds five of eight for some seconds, and costs three of them.
    let mut first = rig.connect().await;
    let answer = first.send_request(rig.chat(chat_body(true, "pace=1s; events=3"))).await.unwrap();
    let waiting = rig.send(rig.chat(chat_body(false, "")));
    let (waited, _) = tokio::join!(waiting, crate::support::rig::Answer::read(answer));
    assert_eq!(waited.status(), 200, "{}", waited.json());
    rig.settle().await;
    let records = rig.records();
    let record = records.iter().find(|record| record["stream"] == false).unwrap();
    let seconds = |name: &str| record[name].as_f64().unwrap();
    assert!(seconds("waited_seconds") > 2.0, "{record}");
    assert!(seconds("gateway_seconds") < 0.5, "{record}");
    assert!(
        seconds("first_byte_seconds") >= seconds("waited_seconds") + seconds("gateway_seconds"),
        "{record}"
    );
    let own = crate::support::rig::sample(
        &rig.metrics(),
        "mavera_gateway_overhead_seconds_sum{route=\"video_chat\"}",
    );
    assert!(own < 0.5, "{own}");
}
