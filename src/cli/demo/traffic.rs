//! What the teams of `demo --traffic` ask for, again and again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use mavera_sim::DEMO_ANALYSIS;
use serde_json::{Value, json};

use crate::head::idempotency::IDEMPOTENCY_KEY;
use crate::outbound::ask::{Bounds, ask};
use crate::outbound::connect::Tcp;
use crate::outbound::origin::Origin;

/// What an answer may take.
const BOUNDS: Bounds = Bounds { time: Duration::from_mins(2), bytes: 16 << 20 };
/// How often a team looks whether its analysis is finished.
const POLL: Duration = Duration::from_secs(10);

const QUESTIONS: [&str; 4] = [
    "Which moment loses viewers?",
    "Does the hook work without sound?",
    "Compare the first and the last ten seconds, and say which product shot is remembered best and why.",
    "Summarise the emotional arc.",
];

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// One team: asks again and again, streaming every other time, sometimes twice, for as long as it is let. Now and then it has a
/// video analysed, or asks Mave.
pub(super) async fn talk(gateway: Arc<Origin>, key: String, name: &'static str, every: Duration) {
    let team = Team { gateway, key };
    for turn in 0u64.. {
        // One in five is made again, as by a client that lost its answer: it is charged once.
        for _ in 0..=u64::from(turn % 5 == 4) {
            if let Err(error) = team.turn(name, turn).await {
                tracing::warn!(%error, "a team of the demo got no answer");
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// How many calls come at once, and how often.
const CROWD: (u64, Duration) = (45, Duration::from_mins(1));

/// Many calls of one team at once, again and again: more than its share of the window, so that they wait their turn.
pub(super) async fn crowd(gateway: Arc<Origin>, key: String) {
    let team = Arc::new(Team { gateway, key });
    let (calls, every) = CROWD;
    let mut next = tokio::time::interval(every);
    for round in 0u64.. {
        next.tick().await;
        for call in 0..calls {
            let (team, key) = (Arc::clone(&team), format!("crowd-{round}-{call}"));
            tokio::spawn(async move {
                let body = json!({ "messages": [{"role": "user", "content": QUESTIONS[1]}] });
                let path = format!("/api/v1/video-analyses/{DEMO_ANALYSIS}/chat");
                if let Err(error) = team.ask(Method::POST, &path, &key, Some(&body)).await {
                    tracing::warn!(%error, "a call of many got no answer");
                }
            });
        }
    }
}

struct Team {
    gateway: Arc<Origin>,
    key: String,
}

impl Team {
    async fn turn(&self, name: &str, turn: u64) -> Result<(), Failed> {
        let question = QUESTIONS[usize::try_from(turn).unwrap_or(0) % QUESTIONS.len()];
        let stream = turn.is_multiple_of(2);
        let messages = json!([{"role": "user", "content": question}]);
        // Now and then an answer of the simulated upstream breaks off: what it cost is in doubt.
        let sim = if turn % 25 == 8 { "fault=close" } else { "" };
        let (path, body) = match (name, turn) {
            ("growth", _) if turn % 120 == 3 => {
                let analysis = json!({
                    "video_url": "https://videos.example/launch.mp4", "title": "Launch", "brand": "Example",
                    "product": "App", "primary_intent": "Persuasive", "goal": question,
                });
                return self.analyse(turn, &analysis).await;
            }
            ("research", _) if turn % 20 == 5 => {
                ("/api/v1/mave/chat".to_owned(), json!({"message": question, "stream": stream}))
            }
            ("support", _) if turn % 3 == 1 => {
                let body = json!({"model": "mavera-1", "input": question, "stream": stream});
                ("/api/v1/responses".to_owned(), body)
            }
            _ => {
                let path = format!("/api/v1/video-analyses/{DEMO_ANALYSIS}/chat");
                (path, json!({"messages": messages, "stream": stream, "sim": sim}))
            }
        };
        self.ask(Method::POST, &path, &format!("turn-{turn}"), Some(&body)).await.map(drop)
    }

    /// Has a video analysed, and waits until that is finished.
    async fn analyse(&self, turn: u64, analysis: &Value) -> Result<(), Failed> {
        let made =
            self.ask(Method::POST, "/api/v1/video-analyses", &format!("turn-{turn}"), Some(analysis)).await?;
        let made: Value = serde_json::from_slice(made.body())?;
        let Some(id) = made["id"].as_str() else { return Ok(()) };
        let path = format!("/api/v1/video-analyses/{id}");
        loop {
            tokio::time::sleep(POLL).await;
            let answer = self.ask(Method::GET, &path, "look", None).await?;
            let analysis: Value = serde_json::from_slice(answer.body())?;
            if !["pending", "generating"].iter().any(|going| analysis["status"] == *going) {
                return Ok(());
            }
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        retry_key: &str,
        body: Option<&Value>,
    ) -> Result<Response<Bytes>, Failed> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", self.key))?;
        authorization.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, authorization)
            .header(IDEMPOTENCY_KEY, retry_key)
            .body(Full::from(body.map(Value::to_string).unwrap_or_default()))?;
        Ok(ask(&Tcp, &self.gateway, request, BOUNDS).await?)
    }
}
