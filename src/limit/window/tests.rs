use super::*;

fn window() -> Arc<Window> {
    Arc::new(Window::new(Clock::starting_at("2030-01-01T00:00:00Z".parse().unwrap())))
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_restart_counts_for_the_rest_of_its_minute() {
    let window = window();
    let seconds = |ages: &[u64]| ages.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
    window.take_up(seconds(&[0, 30, 59, 62, 3600]));
    assert_eq!(window.used(), 3);
    assert!(window.take(3).is_err());
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(window.used(), 2);
    assert!(window.take(3).is_ok());
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(window.used(), 0);
}

fn sent(mut slot: Slot) -> Slot {
    slot.sent().unwrap();
    slot
}

fn answer(slot: Slot) {
    sent(slot).answered(StatusCode::OK, &HeaderMap::new());
}

fn fields(fields: &[(&'static str, String)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn no_sixty_seconds_ever_hold_more_than_the_limit() {
    let window = window();
    let mut arrivals = Vec::new();
    let start = window.clock.now();
    for step in 0u64..6000 {
        tokio::time::advance(Duration::from_millis(37 + step % 5 * 11)).await;
        if let Ok(slot) = window.take(20) {
            // Anywhere between the write and the answer.
            arrivals.push(window.clock.now() - start);
            tokio::time::advance(Duration::from_millis(step % 7 * 30)).await;
            answer(slot);
        }
    }
    for pair in arrivals.windows(21) {
        assert!(
            pair[20].checked_sub(pair[0]).unwrap() >= WINDOW,
            "{:?}",
            pair[20].checked_sub(pair[0]).unwrap()
        );
    }
    assert!(arrivals.len() > 60, "the window refills");
}

#[tokio::test(start_paused = true)]
async fn the_wait_it_names_is_true_and_not_much_too_long() {
    let window = window();
    answer(window.take(1).unwrap());
    let wait = wait(&window, 1);
    assert!((WINDOW..=WINDOW + 2 * TICK).contains(&wait), "{wait:?}");
    tokio::time::advance(wait).await;
    assert!(window.take(1).is_ok());
}

/// How long a full window says that it stays full.
fn wait(window: &Arc<Window>, limit: u32) -> Duration {
    match window.take(limit).unwrap_err() {
        NoPlace::Full { wait, .. } => wait,
        closed @ NoPlace::Closed { .. } => panic!("{closed:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_it_names_is_true_where_more_than_one_place_must_leave() {
    let window = window();
    for _ in 0..5 {
        answer(window.take(5).unwrap());
        tokio::time::advance(Duration::from_secs(3)).await;
    }
    // A reload has lowered the limit: four of five must leave.
    let long = wait(&window, 2);
    tokio::time::advance(long.checked_sub(TICK).unwrap()).await;
    assert!(window.take(2).is_err(), "a moment earlier is too early");
    tokio::time::advance(TICK).await;
    assert!(window.take(2).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_place_that_left_before_its_call_was_sent_is_asked_for_anew() {
    let window = window();
    let mut late = window.take(2).unwrap();
    tokio::time::advance(Duration::from_mins(2)).await;
    answer(window.take(2).unwrap());
    answer(window.take(2).unwrap());
    assert!(matches!(late.sent(), Err(NoPlace::Full { per_minute: 2, .. })));
    assert_eq!(window.used(), 2);
    tokio::time::advance(Duration::from_secs(62)).await;
    assert_eq!((late.sent(), window.used()), (Ok(()), 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_never_sent_gives_its_place_back() {
    let window = window();
    drop(window.take(1).unwrap());
    assert_eq!(window.used(), 0);
    drop(sent(window.take(1).unwrap()));
    assert_eq!(window.used(), 1, "one that may have arrived does not");
}

#[tokio::test(start_paused = true)]
async fn a_429_closes_the_window_as_long_as_it_says() {
    let window = window();
    let slot = sent(window.take(100).unwrap());
    slot.answered(StatusCode::TOO_MANY_REQUESTS, &fields(&[("retry-after", "7".into())]));
    let wait = Duration::from_secs(7);
    assert_eq!(window.take(100).unwrap_err(), NoPlace::Closed { wait });
    tokio::time::advance(wait).await;
    assert!(window.take(100).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_others_spend_with_the_key_is_heeded() {
    let window = window();
    let reset = window.clock.wall().as_second() + 10;
    let slot = sent(window.take(100).unwrap());
    slot.answered(
        StatusCode::OK,
        &fields(&[
            ("x-ratelimit-limit", "100".into()),
            ("x-ratelimit-remaining", "1".into()),
            ("x-ratelimit-reset", reset.to_string()),
        ]),
    );
    assert_eq!(window.used(), 99);
    let _last = window.take(100).unwrap();
    let wait = wait(&window, 100);
    assert!(wait <= Duration::from_secs(10), "{wait:?}");
    tokio::time::advance(wait).await;
    assert!(window.take(100).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_of_the_upstream_wins() {
    let window = window();
    sent(window.take(240).unwrap()).answered(StatusCode::OK, &fields(&[("x-ratelimit-limit", "2".into())]));
    let _second = window.take(240).unwrap();
    assert!(matches!(window.take(240).unwrap_err(), NoPlace::Full { per_minute: 2, .. }));
}
