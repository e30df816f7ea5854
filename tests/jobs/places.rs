//! How many jobs are under way at once, and whose turn it is when one ends.

use std::sync::Arc;
use std::time::Duration;

use mavera_gateway::books::jobs::OfRoute;
use mavera_gateway::route::Route;
use mavera_sim::quirks::Quirks;
use serde_json::json;
use tokio::time::Instant;

use super::{at_work, create, id, poll, setup, start};
use crate::support::rig::{Rig, Setup};

fn analyses(rig: &Rig) -> OfRoute {
    rig.gateway.books.desk.jobs(Route::named("video_analyses").unwrap())
}

#[tokio::test(start_paused = true)]
async fn of_forty_that_are_asked_for_at_once_the_upstream_never_has_a_fourth() {
    let (rig, simulator) = at_work(&setup());
    let rig = Arc::new(rig);
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                let made = create(&rig, "growth", &format!("job_takes={}s", 5 + n % 7)).await;
                assert_eq!(made.status(), 201, "{made:?}");
                let id = id(&made);
                // Half of them poll; the others have left, and the gateway looks for them.
                while n % 2 == 0 && poll(&rig, &id).await["status"] != "completed" {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    simulator.books(|books| {
        assert_eq!((books.jobs_peak["/video-analyses"], books.over_cap.get("/video-analyses")), (3, None));
    });
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert_eq!(analyses(&rig), OfRoute { in_doubt: 40, ..OfRoute::default() });
}

#[tokio::test(start_paused = true)]
async fn each_route_has_its_own_bound_and_a_call_has_its_place_until_its_answer_is_over() {
    let (rig, simulator) = at_work(&setup());
    let rig = Arc::new(rig);
    let tasks = (0..30).map(|n| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            let (path, body) = match n % 2 {
                0 => ("/api/v1/focus-groups", json!({"sim": "job_takes=20s"})),
                _ => ("/api/v1/mave/chat", json!({"message": "x", "stream": true, "sim": "pace=1s"})),
            };
            let answer = start(&rig, "growth", path, &body, &[]).await;
            assert!(answer.status().is_success(), "{answer:?}");
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    simulator.books(|books| {
        assert_eq!((books.jobs_peak["/focus-groups"], books.peak["/mave/chat"]), (5, 10));
        assert!(books.over_cap.is_empty(), "{:?}", books.over_cap);
    });
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_in_vain_for_a_place_is_told_so() {
    let (rig, simulator) = at_work(&setup());
    for _ in 0..3 {
        assert_eq!(create(&rig, "growth", "job_takes=10m").await.status(), 201);
    }
    let began = Instant::now();
    let body = super::analysis("");
    let refused =
        start(&rig, "rival", "/api/v1/video-analyses", &body, &[("x-gateway-max-wait", "30s")]).await;
    assert_eq!((refused.status().as_u16(), refused.code().as_str()), (429, "job_limit_reached"));
    assert_eq!((refused.header("retry-after"), began.elapsed().as_secs()), ("30", 30));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("The organisation has 3 jobs of video_analyses under way"), "{message}");
    assert_eq!(simulator.books(|books| books.received.iter().filter(|r| r.method == "POST").count()), 3);
    // Whoever leaves the queue leaves it.
    assert_eq!(analyses(&rig), OfRoute { running: 3, taken: 3, ..OfRoute::default() });
}

#[tokio::test(start_paused = true)]
async fn a_place_whose_caller_is_gone_is_free_soon_after_the_job_has_ended() {
    let (rig, simulator) = at_work(&setup());
    create(&rig, "growth", "job_takes=90s").await;
    let polls = || simulator.books(|books| books.received.iter().filter(|r| r.method == "GET").count());
    tokio::time::sleep(Duration::from_secs(55)).await;
    let (before, usage) = (analyses(&rig), polls());
    assert_eq!((before.running, before.taken), (1, 1));
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(analyses(&rig), OfRoute { in_doubt: 1, ..OfRoute::default() });
    let asked = simulator.books(|books| {
        books.received.iter().filter(|r| r.target.starts_with("/api/v1/video-analyses/")).count()
    });
    assert!((1..=3).contains(&asked), "{asked} polls of our own, {} requests in all", polls() - usage);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_a_job_that_its_caller_polls() {
    let (rig, simulator) = at_work(&Setup { upstream: "usage_interval = \"0s\"".into(), ..setup() });
    let made = id(&create(&rig, "growth", "job_takes=5m").await);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        poll(&rig, &made).await;
    }
    assert_eq!(simulator.books(|books| books.received.len()), 11);
    assert_eq!(analyses(&rig).taken, 0);
}

#[tokio::test(start_paused = true)]
async fn a_word_that_nobody_knows_ends_nothing_and_after_half_an_hour_the_place_is_free() {
    let (rig, simulator) = at_work(&setup());
    let made = id(&create(&rig, "growth", "job_takes=1s").await);
    simulator.set_quirks(Quirks::default().with("status_case=unknown").unwrap());
    for _ in 0..29 {
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(poll(&rig, &made).await["status"], "transmogrifying");
        assert_eq!(analyses(&rig).taken, 1);
    }
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(analyses(&rig), OfRoute { in_doubt: 1, ..OfRoute::default() });
}

#[tokio::test(start_paused = true)]
async fn one_whose_answer_was_lost_keeps_its_place_for_half_an_hour() {
    let (rig, simulator) = at_work(&setup());
    // The upstream has begun it, and nobody knows its id.
    let lost =
        start(&rig, "growth", "/api/v1/video-analyses", &super::analysis("answer=reset_before"), &[]).await;
    assert_eq!(lost.status(), 502);
    assert_eq!(analyses(&rig), OfRoute { unknown: 1, taken: 1, ..OfRoute::default() });
    // One that was refused before any work has none.
    let body = super::analysis("answer=402_exhausted");
    assert_eq!(start(&rig, "growth", "/api/v1/video-analyses", &body, &[]).await.status(), 402);
    assert_eq!(analyses(&rig).taken, 1);
    tokio::time::sleep(Duration::from_mins(31)).await;
    assert_eq!(analyses(&rig), OfRoute { in_doubt: 1, ..OfRoute::default() });
    assert_eq!(simulator.books(|books| books.over_cap.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn one_whose_answer_is_lost_keeps_its_place_from_those_that_wait() {
    for (lost, status) in [("answer=reset_before;delay=1s", 502), ("delay=3m", 504)] {
        let (rig, simulator) = at_work(&setup());
        let rig = Arc::new(rig);
        for _ in 0..2 {
            assert_eq!(create(&rig, "growth", "job_takes=20m").await.status(), 201);
        }
        let waits = Arc::clone(&rig);
        let waiting = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            create(&waits, "rival", "").await.status()
        });
        let lost = create(&rig, "growth", lost).await;
        assert_eq!(lost.status(), status, "{lost:?}");
        tokio::time::sleep(Duration::from_mins(4)).await;
        let stand = OfRoute { running: 2, unknown: 1, taken: 3, waiting: 1, ..OfRoute::default() };
        assert_eq!((analyses(&rig), waiting.is_finished()), (stand, false), "{status}");
        assert_eq!(simulator.books(|books| books.over_cap.len()), 0);
        waiting.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn turns_go_by_what_each_team_has_had_in_time() {
    let (rig, simulator) = at_work(&setup());
    let rig = Arc::new(rig);
    let begun = |team: &'static str, count: usize, takes: u64| -> Vec<_> {
        (0..count)
            .map(|_| {
                let rig = Arc::clone(&rig);
                tokio::spawn(async move {
                    let made = create(&rig, team, &format!("job_takes={takes}s")).await;
                    let (at, id) = (Instant::now(), id(&made));
                    while poll(&rig, &id).await["status"] != "completed" {
                        tokio::time::sleep(Duration::from_secs(3)).await;
                    }
                    (team, at)
                })
            })
            .collect()
    };
    // A crowd of one team's, whose jobs take long, and a newcomer with short ones.
    let mut tasks = begun("growth", 12, 120);
    tokio::time::sleep(Duration::from_secs(150)).await;
    tasks.extend(begun("rival", 4, 30));
    let mut order = Vec::new();
    for task in tasks {
        order.push(task.await.unwrap());
    }
    order.sort_by_key(|(_, at)| *at);
    let order: String = order.iter().map(|(team, _)| &team[..1]).collect();
    // Six places were given before it came. Then each place that is free is its own until it has had as much time as the others.
    assert!(order.starts_with("gggggg") && order[6..10].matches('r').count() >= 3, "{order}");
    assert_eq!(simulator.books(|books| books.jobs_peak["/video-analyses"]), 3);
}
