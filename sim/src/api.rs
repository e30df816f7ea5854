//! The simulated endpoints.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::analyses::{Analysis, MAX_UNFINISHED, Status};
use super::body::{End, SimBody};
use super::books::{Received, Standing};
use super::chat::{Reply, cost};
use super::errors::ApiError;
use super::quirks::{Answer, Charging, Fault, NotCompleted, OverConcurrency, Quirks, RateHeaders};
use super::{Call, KeyState, Simulator};

const BASE: &str = "/api/v1";
/// Documented bound of `/responses.input`.
const MAX_INPUT: usize = 100_000;

/// What an endpoint has to say.
enum Said {
    Json(u16, Value),
    Chat { reply: Box<Reply>, stream: bool },
}

impl Simulator {
    /// Answers one request; an error breaks the connection.
    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
        reset: Arc<AtomicBool>,
    ) -> io::Result<Response<SimBody>> {
        let (head, body) = request.into_parts();
        let began = self.now();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if let Some(path) = head.uri.path().strip_prefix("/sim/") {
            return Ok(self.control(path, &head.method, &body));
        }
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        let quirks = self.quirks_for(&head, parsed.as_ref());
        let key = self.key_of(&head);
        let route = route_name(head.uri.path());
        let mut call = self.receive(&head, &body, began, key.as_ref().ok().copied(), &route, reset);
        let standing = key.as_ref().ok().map(|&key| self.enter_window(key));
        if !quirks.delay.is_zero() {
            tokio::time::sleep(quirks.delay).await;
        }
        if quirks.answer == Answer::SlowHead {
            tokio::time::sleep(Duration::from_secs(quirks.at as u64)).await;
        }
        if quirks.answer == Answer::ResetBefore {
            call.reset_connection();
            call.hung_up();
            return Err(io::Error::other("simulated reset"));
        }
        let said = key
            .and_then(|key| self.may(key, standing))
            .and_then(|()| staged_answer(&quirks))
            .and_then(|()| self.route(&head, parsed.as_ref(), &quirks, &mut call));
        let mut response = match said {
            Ok(Said::Json(status, document)) => respond(status, document.to_string().into(), call),
            Ok(Said::Chat { reply, stream }) => chat(&reply, stream, &quirks, call),
            Err(error) => {
                let mut response = respond(error.status, error.body.to_string().into(), call);
                if let Some(wait) = error.retry_after {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
                }
                response
            }
        };
        if quirks.answer == Answer::Html {
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        }
        if let (Some(standing), RateHeaders::Present) = (standing, quirks.rate_headers) {
            for (name, value) in [
                ("x-ratelimit-limit", signed(standing.limit)),
                ("x-ratelimit-remaining", signed(standing.remaining)),
                ("x-ratelimit-reset", standing.reset.as_second() + 1),
            ] {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(value));
            }
        }
        Ok(response)
    }

    /// The controls of the simulator itself: `GET /sim/books`, `PUT /sim/quirks`.
    fn control(&self, path: &str, method: &Method, body: &Bytes) -> Response<SimBody> {
        let call = self.unrecorded();
        match (method, path) {
            (&Method::GET, "books") => {
                let books = self.books(|books| json!(books));
                respond(200, books.to_string().into(), call)
            }
            (&Method::PUT, "quirks") => match Quirks::default().with(&String::from_utf8_lossy(body)) {
                Ok(quirks) => {
                    self.set_quirks(quirks);
                    respond(200, "{}".into(), call)
                }
                Err(error) => respond(400, json!({ "error": error }).to_string().into(), call),
            },
            _ => respond(404, "{}".into(), call),
        }
    }

    fn unrecorded(&self) -> Call {
        Call {
            simulator: self.clone(),
            index: None,
            route: String::new(),
            key: 0,
            owed: 0,
            charging: Charging::AtEnd,
            refunded: false,
            reset: Arc::default(),
        }
    }

    fn quirks_for(&self, head: &Parts, body: Option<&Value>) -> Quirks {
        let mut quirks = self.state().settings.quirks.clone();
        let field = head.headers.get("x-sim-quirks").and_then(|value| value.to_str().ok());
        let member = body.and_then(|body| body.get("sim")).and_then(Value::as_str);
        for text in field.into_iter().chain(member) {
            quirks = quirks.with(text).unwrap_or(quirks);
        }
        quirks
    }

    fn key_of(&self, head: &Parts) -> Result<usize, ApiError> {
        let Some(authorization) = head.headers.get(header::AUTHORIZATION) else {
            return Err(ApiError::authentication("missing_api_key"));
        };
        let presented = authorization.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
        let state = self.state();
        let known = state.settings.keys.iter().position(|key| key.text.as_bytes() == presented);
        let index = known.ok_or_else(|| ApiError::authentication("invalid_api_key"))?;
        match state.settings.keys[index].state {
            KeyState::Revoked => Err(ApiError::authentication("revoked_api_key")),
            KeyState::Expired => Err(ApiError::authentication("expired_api_key")),
            KeyState::Live | KeyState::Lapsed => Ok(index),
        }
    }

    fn receive(
        &self,
        head: &Parts,
        body: &Bytes,
        began: jiff::Timestamp,
        key: Option<usize>,
        route: &str,
        reset: Arc<AtomicBool>,
    ) -> Call {
        let mut state = self.state();
        state.books.began(route);
        let index = state.books.received.len();
        let remembered = index < state.settings.remember;
        if remembered {
            let headers = head.headers.iter().map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            });
            let received = Received {
                index,
                method: head.method.to_string(),
                target: head.uri.to_string(),
                headers: headers.collect(),
                body_sha256: hex::encode(Sha256::digest(body)),
                body_bytes: body.len(),
                key,
                began,
                ended: None,
                status: None,
                hung_up: false,
                response_id: None,
                charged: 0,
            };
            state.books.received.push(received);
        }
        drop(state);
        let index = remembered.then_some(index);
        Call { index, route: route.to_owned(), key: key.unwrap_or(0), reset, ..self.unrecorded() }
    }

    fn enter_window(&self, key: usize) -> Standing {
        let now = self.now();
        let mut state = self.state();
        let limit = state.settings.requests_per_minute;
        let standing = state.windows[key].enter(now, limit);
        let length = state.windows[key].len();
        state.books.busiest_window = state.books.busiest_window.max(length);
        state.books.over_window += usize::from(!standing.allowed);
        standing
    }

    /// The window, the subscription and the pool, in the order in which they are assumed to be asked.
    fn may(&self, key: usize, standing: Option<Standing>) -> Result<(), ApiError> {
        let now = self.now();
        if let Some(standing) = standing.filter(|standing| !standing.allowed) {
            let wait = standing.reset.duration_since(now).as_secs().max(0);
            return Err(ApiError::rate_limited(Some(u64::try_from(wait).unwrap_or(0) + 1)));
        }
        let state = self.state();
        match state.settings.keys[key].state {
            KeyState::Lapsed => Err(ApiError::lapsed()),
            _ => Ok(()),
        }
    }

    fn can_pay(&self) -> Result<(), ApiError> {
        let state = self.state();
        let api: u64 = state.books.total_charged();
        if state.settings.workspace_budget.is_some_and(|budget| api >= budget) {
            return Err(ApiError::workspace_budget());
        }
        if state.pool.remaining() == 0 { Err(ApiError::credits_exhausted()) } else { Ok(()) }
    }

    fn route(
        &self,
        head: &Parts,
        body: Option<&Value>,
        quirks: &Quirks,
        call: &mut Call,
    ) -> Result<Said, ApiError> {
        let path = head.uri.path().strip_prefix(BASE).ok_or_else(ApiError::not_found)?;
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (&head.method, segments.as_slice()) {
            (&Method::GET, ["video-analyses"]) => Ok(self.list(head.uri.query().unwrap_or_default(), quirks)),
            (&Method::GET, ["video-analyses", id]) => {
                let analysis = self.analysis(id)?;
                Ok(Said::Json(200, analysis.json(self.now(), quirks.status_case)))
            }
            (&Method::POST, ["video-analyses"]) => self.create(body, quirks),
            (&Method::POST, ["video-analyses", id, "chat"]) => self.chat(id, body, quirks, call),
            (&Method::POST, ["responses"]) => self.responses(body, quirks, call),
            (&Method::GET, ["personas"]) => Ok(Said::Json(200, personas())),
            (&Method::GET, ["usage"]) => Ok(Said::Json(200, self.usage())),
            (_, ["video-analyses" | "responses" | "personas" | "usage", ..]) => {
                Err(ApiError::method_not_allowed())
            }
            _ => Err(ApiError::not_found()),
        }
    }

    fn analysis(&self, id: &str) -> Result<Analysis, ApiError> {
        self.state()
            .analyses
            .iter()
            .find(|analysis| analysis.id == id)
            .cloned()
            .ok_or_else(ApiError::not_found)
    }

    fn list(&self, query: &str, quirks: &Quirks) -> Said {
        let parameter = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value)
        };
        let number =
            |name, default| parameter(name).and_then(|value| value.parse::<usize>().ok()).unwrap_or(default);
        let (limit, offset) = (number("limit", 20).clamp(1, 100), number("offset", 0));
        let now = self.now();
        let state = self.state();
        let wanted = parameter("status").map(str::to_lowercase);
        let matching: Vec<_> = state
            .analyses
            .iter()
            .filter(|analysis| {
                wanted.as_ref().is_none_or(|wanted| {
                    *wanted == analysis.status(now).text(super::quirks::StatusCase::Lower)
                })
            })
            .collect();
        let data: Vec<_> = matching
            .iter()
            .skip(offset)
            .take(limit)
            .map(|analysis| analysis.json(now, quirks.status_case))
            .collect();
        let has_more = offset + data.len() < matching.len();
        Said::Json(
            200,
            json!({"object": "list", "data": data, "has_more": has_more, "total": matching.len()}),
        )
    }

    fn create(&self, body: Option<&Value>, quirks: &Quirks) -> Result<Said, ApiError> {
        let now = self.now();
        let mut state = self.state();
        if state.analyses.iter().filter(|analysis| analysis.is_unfinished(now)).count() >= MAX_UNFINISHED {
            let wait = (quirks.over_concurrency == OverConcurrency::RetryAfter).then_some(15);
            return Err(ApiError::rate_limited(wait));
        }
        let takes = state.settings.analysis_time;
        let analysis = Analysis::create(state.analyses.len(), body.unwrap_or(&Value::Null), now, takes)?;
        let document = analysis.json(now, quirks.status_case);
        state.analyses.push(analysis);
        Ok(Said::Json(201, document))
    }

    fn chat(
        &self,
        id: &str,
        body: Option<&Value>,
        quirks: &Quirks,
        call: &mut Call,
    ) -> Result<Said, ApiError> {
        let analysis = self.analysis(id)?;
        if analysis.status(self.now()) != Status::Completed {
            return Err(ApiError::not_completed(match quirks.not_completed {
                NotCompleted::Conflict => 409,
                NotCompleted::BadRequest => 400,
                NotCompleted::Unprocessable => 422,
            }));
        }
        let invalid = |param| ApiError::invalid("invalid_field", param, "The field is not valid.");
        let body = body.and_then(Value::as_object).ok_or_else(|| invalid("messages"))?;
        let messages = body
            .get("messages")
            .ok_or_else(|| ApiError::invalid("missing_field", "messages", "messages is required."))?;
        let messages = messages
            .as_array()
            .filter(|messages| (1..=50).contains(&messages.len()))
            .ok_or_else(|| invalid("messages"))?;
        let stream = match body.get("stream") {
            None => false,
            Some(stream) => stream.as_bool().ok_or_else(|| invalid("stream"))?,
        };
        self.reply(&Value::from(messages.clone()).to_string(), stream, quirks, call)
    }

    fn responses(&self, body: Option<&Value>, quirks: &Quirks, call: &mut Call) -> Result<Said, ApiError> {
        let body = body
            .and_then(Value::as_object)
            .ok_or_else(|| ApiError::invalid("missing_field", "model", "model is required."))?;
        if body.get("model").and_then(Value::as_str) != Some("mavera-1") {
            return Err(ApiError::invalid("invalid_model", "model", "The only model is mavera-1."));
        }
        let input = match body.get("input") {
            Some(Value::String(text)) if text.chars().count() <= MAX_INPUT => text.clone(),
            Some(Value::Array(items)) => Value::from(items.clone()).to_string(),
            _ => return Err(ApiError::invalid("invalid_field", "input", "input must be text or items.")),
        };
        let stream = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
        self.reply(&input, stream, quirks, call)
    }

    fn reply(&self, asked: &str, stream: bool, quirks: &Quirks, call: &mut Call) -> Result<Said, ApiError> {
        self.can_pay()?;
        let index = {
            let mut state = self.state();
            state.responses += 1;
            state.responses
        };
        let reply = Reply::new(index, self.now().as_second(), asked, quirks);
        let fails = quirks.fault != Fault::None && stream;
        call.owes(cost(reply.input_tokens), quirks, fails);
        call.answered(200, Some(&reply.id));
        Ok(Said::Chat { reply: Box::new(reply), stream })
    }

    fn usage(&self) -> Value {
        let now = self.now();
        let mut state = self.state();
        let minutes = now.duration_since(state.started).as_mins().max(0);
        let drifted = state.settings.dashboard_per_minute * u64::try_from(minutes).unwrap_or(0);
        let new = drifted.saturating_sub(state.pool.dashboard);
        state.pool.dashboard += new;
        state.books.recharged += state.pool.spend(new);
        let (pool, total) = (&state.pool, state.books.total_charged());
        let month = now.to_zoned(jiff::tz::TimeZone::UTC);
        let start =
            month.first_of_month().and_then(|day| day.start_of_day()).map_or(now, |start| start.timestamp());
        let (start, before) = state.billed_since.unwrap_or((start, 0));
        let api = total - before;
        let end = month.last_of_month().and_then(|day| day.end_of_day()).map_or(now, |end| end.timestamp());
        json!({
            "object": "usage",
            "billing_period": {"start": format!("{start:.3}"), "end": format!("{end:.3}")},
            "credits": {
                "used": pool.used, "included": pool.included, "remaining": pool.remaining(),
                "percentage_used": (pool.used * 100).checked_div(pool.included).unwrap_or(100),
            },
            "transcription": {"minutes_used": 0, "minutes_included": 500, "minutes_remaining": 500, "percentage_used": 0},
            "storage": {"gb_used": 0, "gb_included": 50, "gb_remaining": 50, "percentage_used": 0},
            "api_requests": {"total_requests": state.books.received.len(), "credits_used": api, "error_count": 0},
            "rate_limit": {"requests_per_minute": state.settings.requests_per_minute},
            "auto_recharge": {
                "enabled": pool.recharge.is_some(),
                "threshold": pool.recharge.map(|recharge| recharge.threshold),
                "credits_to_add": pool.recharge.map(|recharge| recharge.amount),
            },
            "limits": {"budget_alert": null, "usage_limit": state.settings.workspace_budget},
        })
    }
}

fn personas() -> Value {
    json!({"object": "list", "data": [
        {"id": "cpersona00000000000000001", "object": "persona", "name": "Early adopter", "created_at": 0},
    ], "has_more": false, "next_cursor": null})
}

/// The answers that replace the endpoint's own. Those that are no error come later.
fn staged_answer(quirks: &Quirks) -> Result<(), ApiError> {
    match quirks.answer {
        Answer::RateLimited => Err(ApiError::rate_limited(Some(7))),
        Answer::RateLimitedBare => Err(ApiError::rate_limited(None)),
        Answer::InternalError => Err(ApiError::internal()),
        Answer::Unavailable => Err(ApiError::unavailable()),
        _ => Ok(()),
    }
}

fn respond(status: u16, body: Bytes, call: Call) -> Response<SimBody> {
    call.answered(status, None);
    let mut response = Response::new(SimBody::whole(body, call));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn chat(reply: &Reply, stream: bool, quirks: &Quirks, call: Call) -> Response<SimBody> {
    let (content_type, body) = match quirks.answer {
        Answer::Html => (
            "text/html",
            SimBody::whole(
                "<html><body>502 Bad Gateway {\"usage\":{\"credits_used\":9}}</body></html>".into(),
                call,
            ),
        ),
        Answer::Empty => ("application/json", SimBody::whole(Bytes::new(), call)),
        Answer::NotJson => ("text/plain", SimBody::whole("it worked".into(), call)),
        _ if stream => {
            let end = match quirks.fault {
                Fault::Close => End::Close,
                Fault::Reset => End::Reset,
                Fault::Stall => End::Stall,
                _ if quirks.answer == Answer::ResetAfter => End::WholeThenReset,
                _ => End::Whole,
            };
            ("text/event-stream", SimBody::new(reply.stream(quirks).into(), None, end, quirks.pace, call))
        }
        Answer::SlowBody => {
            let json = reply.json(quirks);
            let bytes: VecDeque<_> = (0..json.len()).map(|at| json.slice(at..=at)).collect();
            let exact = Some(json.len() as u64);
            ("application/json", SimBody::new(bytes, exact, End::Whole, Duration::from_millis(10), call))
        }
        Answer::ResetAfter => (
            "application/json",
            SimBody::new([reply.json(quirks)].into(), None, End::WholeThenReset, Duration::ZERO, call),
        ),
        _ => ("application/json", SimBody::whole(reply.json(quirks), call)),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if content_type == "text/event-stream" {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn route_name(path: &str) -> String {
    let path = path.strip_prefix(BASE).unwrap_or(path);
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments.as_slice() {
        ["video-analyses", _, "chat"] => "/video-analyses/{id}/chat".into(),
        ["video-analyses", _] => "/video-analyses/{id}".into(),
        _ => path.to_owned(),
    }
}
