//! The credits page as people see it: in headless Chromium, beside what the ledger says.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::browser::Page;
use crate::support::chat_body;
use crate::support::http::chat;
use crate::support::issuer::{ISSUER, TestIssuer};
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
    assert_eq!(shown["pool"]["last"], "nothing booked", "of the month before");
    assert!(shown["pool"]["last_dates"].as_str().unwrap().starts_with("1 "), "{}", shown["pool"]);
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
    page.does("filter", json!({ "outcome": "", "basis": "estimated" }));
    page.shows(&json!({ "requests/rows/0/outcome": "truncated", "requests/rows/1": null,
                        "requests/settles": { "matches": "credits reconcile --csv" } }));
    page.does("filter", json!({ "basis": "", "outcome": "crashed" }));
    page.shows(&json!({ "requests/none": { "matches": "." }, "requests/rows/0": null }));
    page.does("filter", json!({ "outcome": "" }));

    let grant = ["--team", "growth", "--credits", "40", "--until", "2099-12-31", "--why", "a test"];
    let given =
        binary().args(["credits", "grant"]).args(grant).arg("--config").arg(pair.config_path()).status();
    assert!(given.unwrap().success());
    page.shows(&json!({ "grants/rows/0/team": "growth", "grants/rows/0/credits": "40",
                        "grants/rows/0/until": "Thu 31 Dec 2099", "grants/rows/0/why": "a test" }));

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_replaced_and_revoked_on_it_and_shown_once() {
    const KEYS_TOKEN: &str = "plainly-fake-keys-token-0123456789";
    let folder = tempfile::tempdir().unwrap();
    let [token, set] = ["token", "set"].map(|name| folder.path().join(name));
    std::fs::write(&token, KEYS_TOKEN).unwrap();
    std::fs::write(&set, TestIssuer::new("a").key_set()).unwrap();
    let pair = pair(&format!("keys_token = {{ file = '{}' }}\n", token.display()));
    let mut page = Page::open(pair.admin);
    let id = pair.key.split('_').nth(1).unwrap().to_owned();
    let row = format!("callers/rows/{id}");
    page.shows(
        &json!({ format!("{row}/used"): "never, as far as is known", format!("{row}/team"): "growth" }),
    );
    // A member comes by a reload, and stands beside the keys.
    let text = std::fs::read_to_string(pair.config_path()).unwrap();
    let member = format!(
        "members = [{{ id = \"growth-ci\", identity = \"build\", claims = {{ sub = \"a\" }} }}]\n\
         [[identity]]\nname = \"build\"\njwt = {{ issuer = \"{ISSUER}\", audience = [\"mavera-gateway\"], jwks_file = '{}' }}\n",
        set.display()
    );
    std::fs::write(pair.config_path(), text + &member).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    talk(&pair, &[(false, "")]).await;
    let shown = page.shows(&json!({
        format!("{row}/spent"): "1", format!("{row}/used"): { "matches": "[0-9]:[0-9]" },
        "callers/rows/growth-ci/way": { "matches": "by build\\s+sub=a" },
    }));
    assert_eq!(shown["callers"]["rows"][&id]["buttons"], json!(["Replace", "Revoke"]));
    assert_eq!(shown["callers"]["rows"]["growth-ci"]["buttons"], json!([]));

    page.presses(&format!("Replace key {id}"));
    let shown = page.shows(&json!({ "key/title": format!("Replace key {id}?") }));
    assert!(shown["key"]["text"].as_str().unwrap().contains("shown once"));
    assert_eq!(page.does("audit", json!({})), json!([]));
    page.does("screenshot", json!({ "name": "keys-replace", "full": false }));
    page.does("change", json!({ "token": TOKEN }));
    page.shows(&json!({ "key/problem": { "matches": "not this gateway’s keys token|not this gateway's keys token" } }));
    page.does("change", json!({ "token": KEYS_TOKEN, "detail": "1h" }));
    let shown = page.shows(&json!({ "key/made": { "matches": "^mvgw_" } }));
    let made = shown["key"]["made"].as_str().unwrap().to_owned();
    page.does("screenshot", json!({ "name": "keys-made", "full": false }));
    let next = made.split('_').nth(1).unwrap().to_owned();
    for key in [&made, &pair.key] {
        assert_eq!(chat(pair.address, key, chat_body(false, "")).await.unwrap().status, 200);
    }
    page.presses("It is passed on");
    // Nowhere in the document is it any more.
    let shown =
        page.shows(&json!({ "key/made": null, format!("callers/rows/{next}/way"): "key, of the ledger" }));
    assert!(!shown.to_string().contains(&made[14..]));

    page.presses(&format!("Revoke key {id}"));
    page.shows(&json!({ "key/title": format!("Revoke key {id}?") }));
    page.does("change", json!({ "token": KEYS_TOKEN, "detail": "laptop lost" }));
    let shown = page.shows(&json!({ "key/title": null, format!("{row}/state"): "revoked" }));
    assert_eq!(shown["callers"]["rows"][&id]["buttons"], json!([]));
    assert_eq!(chat(pair.address, &pair.key, chat_body(false, "")).await.unwrap().status, 401);
    page.does("screenshot", json!({ "name": "keys" }));
    let narrow = page.does("overflow", json!({ "width": 320, "height": 800 }));
    assert_eq!(narrow["overflows"], false, "{narrow}");
    page.stayed_clean(pair.admin, &["status of 401"]);
    let events =
        binary().args(["key", "list", "--events", "--config"]).arg(pair.config_path()).output().unwrap();
    let events = String::from_utf8(events.stdout).unwrap();
    assert!(events.contains("revoked: laptop lost (keys token)"), "{events}");
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
