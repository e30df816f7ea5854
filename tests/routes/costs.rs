//! What calls of each route cost, however they go: what is held, what is booked, and on what that rests.

use http_body_util::BodyExt;
use mavera_gateway::credits::Credits;
use mavera_gateway::meter::Figures;
use mavera_gateway::route::{Cost, Route};
use serde_json::{Value, json};

use super::cases::Case;
use super::{call, matrix, wide};
use crate::support::rig::{Rig, Setup};
use crate::support::script::{json_answer, read_request, write};

fn costly() -> impl Iterator<Item = (Route, Case)> {
    matrix().filter(|(route, _)| route.row().costs())
}

#[tokio::test(start_paused = true)]
async fn what_costs_is_held_to_a_budget_and_what_is_free_is_not() {
    for (route, Case { target, body, .. }) in matrix() {
        let row = route.row();
        // One credit less than what it holds.
        let budget = row.reserve.saturating_sub(Credits::whole(1)).max(Credits::whole(1));
        let setup =
            Setup { credits: format!("budget = {{ credits = {budget}, period = \"month\" }}"), ..wide() };
        let (rig, simulator) = Rig::with_simulator(&setup);
        let answer = rig.send(call(&rig, route, &target, body(false, ""))).await;
        assert_eq!(answer.status() == 402, row.costs(), "{}: {answer:?}", row.label);
        if row.costs() {
            assert_eq!(answer.code(), "budget_exceeded");
            let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(&format!("{}", row.reserve)), "{message}");
            assert_eq!(simulator.books(|books| books.received.len()), 0);
        }
    }
}

/// How a call that costs can go at the upstream, and what is booked then.
enum Booked {
    /// What the upstream charged, as it says or as its price list does.
    Charged,
    /// What was held, in doubt.
    Reserve,
    /// Nothing.
    Nothing,
}

#[tokio::test(start_paused = true)]
async fn what_a_call_costs_is_booked_however_it_goes() {
    for (route, case) in costly() {
        let row = route.row();
        let tells = matches!(row.cost, Cost::InAnswer);
        let opaque = row.figures == Figures::Opaque;
        let silent = if row.job().is_some() { Booked::Reserve } else { Booked::Charged };
        let without = || if matches!(row.cost, Cost::Fixed(_)) { Booked::Charged } else { Booked::Reserve };
        let mut ways = vec![
            (false, "", silent),
            (false, "usage=absent", without()),
            (false, "usage=no_credits", without()),
            (false, "answer=500", Booked::Reserve),
            (false, "answer=503", Booked::Reserve),
            (false, "answer=429_bare", Booked::Nothing),
            (false, "answer=402_exhausted", Booked::Nothing),
            (false, "answer=402_budget", Booked::Nothing),
            (false, "answer=402_lapsed", Booked::Nothing),
            (false, "answer=reset_before", Booked::Reserve),
        ];
        if case.streams {
            let told = if opaque { Booked::Reserve } else { Booked::Charged };
            ways.extend([
                (true, "", told),
                (true, "opaque=usage", Booked::Charged),
                (true, "usage=absent", Booked::Reserve),
                (true, "fault=reset", Booked::Reserve),
                (true, "fault=close", Booked::Reserve),
                (true, "framing=split;opaque=usage", Booked::Charged),
                (true, "framing=many;opaque=usage", Booked::Charged),
            ]);
        }
        for (stream, quirks, booked) in ways {
            let (rig, simulator) = Rig::with_simulator(&wide());
            let what = format!("{} stream={stream} {quirks}", row.label);
            let request = call(&rig, route, &case.target, (case.body)(stream, quirks));
            // The connection may break before there is a head.
            let answer = rig.connect().await.send_request(request).await;
            if let Ok(answer) = answer {
                let _ = answer.into_body().collect().await;
            }
            let record = rig.record().await;
            let charged = simulator.books(|books| books.received[0].charged);
            let (credits, basis) = match booked {
                Booked::Charged => (json!(charged), json!("final")),
                Booked::Reserve => (json!(row.reserve), json!("estimated")),
                Booked::Nothing => (json!(0), Value::Null),
            };
            assert_eq!((&record["booked"], &record["basis"]), (&credits, &basis), "{what}: {record}");
            assert!(tells || !matches!(booked, Booked::Charged) || charged == 50, "{what}");
        }
    }
}

/// What no answer can have cost: it is no figure, and the call stays booked at what was held.
const ABSURD: [&str; 7] = ["-1", "1e40", "\"3\"", "null", "[3]", "{\"credits_used\":3}", "NaN"];

#[tokio::test(start_paused = true)]
async fn a_figure_that_is_absurd_is_none() {
    for (route, case) in costly() {
        let row = route.row();
        for figure in ABSURD {
            let text = json_answer(&format!(
                "{{\"id\":\"x1\",\"usage\":{{\"credits_used\":{figure}}},\"credits_charged\":{figure},\"credits_used\":{figure}}}"
            ));
            let rig = Rig::with_upstream(&wide(), move |mut io, _| {
                let text = text.clone();
                async move {
                    read_request(&mut io).await;
                    write(&mut io, text).await;
                }
            });
            let answer = rig.send(call(&rig, route, &case.target, (case.body)(false, ""))).await;
            assert_eq!(answer.status(), 200);
            let record = rig.record().await;
            let expected = match row.cost {
                Cost::Fixed(price) => (json!(price), json!("final")),
                _ => (json!(row.reserve), json!("estimated")),
            };
            assert_eq!(
                (&record["booked"], &record["basis"]),
                (&expected.0, &expected.1),
                "{} {figure}",
                row.label
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_changes_nothing_in_the_books() {
    for (route, case) in costly() {
        let row = route.row();
        let (rig, simulator) = Rig::with_simulator(&wide());
        let body = (case.body)(case.streams, "delay=2s;opaque=usage");
        let request = call(&rig, route, &case.target, body);
        let mut sender = rig.connect().await;
        let sent =
            tokio::time::timeout(std::time::Duration::from_secs(1), sender.send_request(request)).await;
        assert!(sent.is_err(), "{}: it is answered after two seconds", row.label);
        drop(sender);
        let record = rig.record().await;
        let charged = simulator.books(|books| books.received[0].charged);
        let expected = if row.job().is_some() { json!(row.reserve) } else { json!(charged) };
        assert_eq!(
            (&record["outcome"], &record["booked"]),
            (&json!("client_gone"), &expected),
            "{}",
            row.label
        );
    }
}
