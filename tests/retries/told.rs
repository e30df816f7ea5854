//! What retries have saved is told wherever credits are, and by the ledger, so that it goes on over a restart.

use serde_json::Value;

use crate::ledger::credits;
use crate::support::chat_body;
use crate::support::http::{chat_request, send};
use crate::support::process::{Pair, PairSetup, get};

#[tokio::test]
async fn what_retries_have_saved_is_in_report_me_page_and_metrics_also_after_a_restart() {
    let mut pair = Pair::start(&PairSetup::default());
    let mut cost = 0.0;
    for _ in 0..4 {
        let mut request = chat_request(pair.address, &pair.key, chat_body(false, ""));
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        let answer = send(pair.address, request).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        cost = answer["usage"]["credits_used"].as_f64().unwrap();
    }
    for restarted in [false, true] {
        if restarted {
            pair.stop();
            pair.start_again();
        }
        for (by, name) in [("team", "growth"), ("route", "video_chat"), ("outcome", "copy")] {
            let (code, said) = credits(&pair.config_path(), &["report", "--by", by, "--format", "json"]);
            let report: Value = serde_json::from_str(&said).unwrap();
            let lines = report["lines"].as_array().unwrap();
            let line = lines.iter().find(|line| line["name"] == name).unwrap();
            assert_eq!(
                (code, &line["copies"], line["saved"].as_f64()),
                (0, &3.into(), Some(3.0 * cost)),
                "{said}"
            );
            assert_eq!(report["total"]["saved"].as_f64(), Some(3.0 * cost));
            assert_eq!(report["total"]["credits"].as_f64(), Some(cost), "charged once");
        }
        let (_, table) = credits(&pair.config_path(), &["report"]);
        assert!(table.contains("copies  saved"), "{table}");
        let mut me = chat_request(pair.address, &pair.key, "");
        (*me.method_mut(), *me.uri_mut()) = (http::Method::GET, "/gateway/v1/me".parse().unwrap());
        let me: Value = serde_json::from_slice(&send(pair.address, me).await.unwrap().body).unwrap();
        assert_eq!(
            (&me["retries"]["copies"], me["retries"]["credits_saved"].as_f64()),
            (&3.into(), Some(3.0 * cost))
        );
        let overview: Value = serde_json::from_str(&get(pair.admin, "/credits/overview").1).unwrap();
        assert_eq!(overview["saved"].as_f64(), Some(3.0 * cost));
        assert_eq!(overview["teams"][0]["saved"].as_f64(), Some(3.0 * cost));
        let metrics = get(pair.admin, "/metrics").1;
        let series = format!("mavera_gateway_credits_saved_total{{team=\"growth\"}} {}", 3.0 * cost);
        assert!(metrics.contains(&series), "{metrics}");
    }
    let (code, said) = credits(&pair.config_path(), &["verify"]);
    assert_eq!(code, 0, "{said}");
}
