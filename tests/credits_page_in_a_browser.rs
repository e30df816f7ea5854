//! The credits page as people see it: in headless Chromium, beside what the ledger says.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::browser::Page;
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::process::{Pair, PairSetup, binary};

const TOKEN: &str = "plainly-fake-admin-token-0123456789";

/// A pair whose team and organisation have budgets and whose admin port stays the same over a restart.
fn pair(admin: &str) -> Pair {
    let mut pair = Pair::start(&PairSetup { reads_usage: true, ..PairSetup::default() });
    pair.stop();
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let fixed = format!("[admin]\nlisten = \"{}\"\n{admin}", pair.admin);
    let text = text
        .replace("[admin]\nlisten = \"127.0.0.1:0\"\n", &fixed)
        .replace("\n[[team]]", "\n[credits]\nbudget = { credits = 5000, period = \"month\" }\n\n[[team]]")
        + "budget = { credits = 1500, period = \"month\" }\n";
    std::fs::write(pair.config_path(), text).unwrap();
    pair.start_again();
    pair
}

async fn talk(pair: &Pair, calls: &[(bool, &str)]) {
    for (stream, quirks) in calls {
        let _ = chat(pair.address, &pair.key, chat_body(*stream, quirks)).await;
    }
}

/// What the ledger says was spent, and how much of it in doubt.
fn spent(pair: &Pair) -> (u64, u64) {
    let report = binary()
        .args(["credits", "report", "--format", "json", "--config"])
        .arg(pair.config_path())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let whole = |name: &str| report["total"][name].as_u64().unwrap();
    (whole("credits"), whole("in_doubt"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_what_the_ledger_says_moves_with_it_and_survives_a_restart() {
    let mut pair = pair("");
    talk(&pair, &[(false, ""), (true, ""), (true, ""), (true, "fault=close")]).await;
    let _ = chat(pair.address, "mvgw_unknown0_not_a_key", chat_body(false, "")).await;
    let mut page = Page::open(pair.admin);
    let mut shown =
        page.shows(&json!({ "state": "Serving", "requests/rows/3/team": "growth", "spend/drawn": true }));
    let (credits, doubt) = spent(&pair);
    assert!(doubt > 0 && credits > doubt);

    assert_eq!(shown["pool"]["used"], format!("{credits} credits"));
    assert_eq!(shown["pool"]["left"], format!("{} credits", thousands(5000 - credits)));
    let growth = &shown["teams"]["growth"];
    assert_eq!((&growth["used"], &growth["held"]), (&json!(credits.to_string()), &json!("0")));
    assert_eq!(growth["left"], thousands(1500 - credits));
    assert_eq!(shown["spend"]["legend"]["growth"]["total"], credits.to_string());
    let outcomes: Vec<_> =
        shown["requests"]["rows"].as_array().unwrap().iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes[0], "truncated");
    assert_eq!(outcomes.len(), 4);
    assert_eq!(shown["refusals"]["invalid_api_key"]["count"], "1");
    assert_eq!((&shown["zone"], &shown["stale"]), (&json!("UTC"), &json!(false)));

    page.presses("Show as table");
    for per in ["Day", "Week", "Month"] {
        page.presses(per);
        shown = page.shows(
            &json!({ "spend/per": per.to_lowercase(), "spend/legend/growth/total": credits.to_string() }),
        );
        let table = shown["spend"]["table"].as_object().unwrap();
        let booked: Vec<_> = table
            .values()
            .map(|row| &row["teams"]["growth"])
            .filter(|cell| cell["credits"].as_str().is_some_and(|credits| credits != "0"))
            .collect();
        assert_eq!(booked.len(), 1, "{table:?}");
        assert_eq!(booked[0]["credits"], credits.to_string());
        assert!(booked[0]["doubt"].as_str().unwrap().contains(&doubt.to_string()), "{booked:?}");
    }

    // It moves when traffic does, by itself, and finds what is asked for.
    talk(&pair, &[(true, ""), (false, "")]).await;
    page.shows(
        &json!({ "requests/rows/5/team": "growth", "pool/used": { "not": format!("{credits} credits") } }),
    );
    let (credits, _) = spent(&pair);
    shown = page.shows(&json!({ "teams/growth/used": credits.to_string() }));
    let id = shown["requests"]["rows"][1]["request_id"].clone();
    page.does("filter", json!({ "id": id }));
    shown = page.shows(&json!({ "requests/rows/0/request_id": id, "requests/rows/1": null }));
    assert!(shown["url"].as_str().unwrap().contains('#'), "filters stay in the address");
    page.does("filter", json!({ "id": "", "outcome": "truncated" }));
    page.shows(&json!({ "requests/rows/0/outcome": "truncated", "requests/rows/1": null }));
    page.does("filter", json!({ "outcome": "crashed" }));
    page.shows(&json!({ "requests/none": { "matches": "." }, "requests/rows/0": null }));
    page.does("filter", json!({ "outcome": "" }));

    // While the gateway is gone the page says how old it is; when it is back, so is the page.
    pair.stop();
    shown = page.shows(&json!({ "stale": true, "banner": { "matches": "does not answer" } }));
    assert_eq!(shown["teams"]["growth"]["used"], credits.to_string(), "what is known stays, marked as old");
    page.does("screenshot", json!({ "name": "gone", "width": 1440, "height": 900, "scheme": "light" }));
    pair.start_again();
    shown = page.shows(&json!({ "stale": false, "state": "Serving", "requests/rows/5/team": "growth" }));
    assert_eq!(shown["teams"]["growth"]["used"], credits.to_string());
    // A failed fetch is told by the browser itself.
    page.stayed_clean(pair.admin, &["Failed to load resource"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_asked_for_checked_and_kept_out_of_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let pair = pair(&format!("token = {{ file = '{}' }}\n", token.display()));
    talk(&pair, &[(false, "")]).await;
    let mut page = Page::open(pair.admin);
    let shown = page.shows(&json!({ "token/asked": true }));
    assert_eq!(shown["pool"]["used"], Value::Null, "nothing is shown before");
    page.does("token", json!({ "value": "plainly-wrong-token-0123456789-0123" }));
    page.shows(&json!({ "token/asked": true, "token/problem": { "matches": "." } }));
    page.does("screenshot", json!({ "name": "token", "width": 1440, "height": 900, "scheme": "dark" }));
    page.does("token", json!({ "value": TOKEN }));
    let shown =
        page.shows(&json!({ "token/asked": false, "state": "Serving", "requests/rows/0/team": "growth" }));
    assert!(!shown["url"].as_str().unwrap().contains("token"), "{}", shown["url"]);
    page.stayed_clean(pair.admin, &["the server responded with a status of 401"]);
    assert!(!pair.gateway.output().contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_readable_narrow_and_wide_light_and_dark_and_without_a_mouse() {
    let pair = pair("");
    talk(&pair, &[(false, ""), (true, "fault=close"), (false, "answer=500")]).await;
    let mut page = Page::open(pair.admin);
    page.shows(&json!({ "state": "Serving", "requests/rows/2/team": "growth", "spend/drawn": true }));
    page.presses("Show as table");
    for width in [320, 360, 768, 1440] {
        let overflow = page.does("overflow", json!({ "width": width, "height": 900 }));
        assert_eq!(overflow["overflows"], false, "at {width} px: {overflow}");
        for scheme in ["light", "dark"] {
            let name = format!("page-{width}-{scheme}");
            page.does("screenshot", json!({ "name": name, "width": width, "height": 900, "scheme": scheme }));
            // Contrast, names, roles, order of headings: in both schemes, at this width.
            assert_eq!(page.does("audit", json!({})), json!([]), "at {width} px");
        }
    }
    let keyboard = page.does("keyboard", json!({}));
    assert_eq!((&keyboard["missed"], &keyboard["unseen"]), (&json!([]), &json!([])), "{keyboard}");
    assert!(keyboard["reached"].as_array().unwrap().len() > 10, "{keyboard}");
    page.stayed_clean(pair.admin, &[]);
}

#[test]
fn the_drawing_library_that_is_shipped_is_the_published_one_with_its_licence() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/page/vendor/uplot");
    let sums =
        Command::new("sha256sum").arg("--check").arg("SHA256SUMS").current_dir(folder).output().unwrap();
    assert!(sums.status.success(), "{}", String::from_utf8_lossy(&sums.stdout));
    let licence = std::fs::read_to_string(format!("{folder}/LICENSE")).unwrap();
    assert!(licence.contains("MIT"), "{licence}");
}

fn thousands(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}
