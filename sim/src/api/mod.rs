//! The simulated endpoints, a file per group of them, and the way of a request to its own.

mod ask;
mod said;
mod list;
mod endpoints;
mod admission;
mod model;
mod jobs;
mod mave;
mod personas;
mod generations;
mod news;
mod files;
mod usage;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use self::ask::Ask;
use self::said::{Said, staged, whole, write};
use super::Simulator;
use super::body::SimBody;
use super::call::Call;
use super::errors::ApiError;
use super::kinds::Kind;
use super::quirks::{Answer, Quirks, RateHeaders};

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
        let path = head.uri.path();
        if let Some(path) = path.strip_prefix("/sim/") {
            return Ok(self.control(path, &head.method, &body));
        }
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        let quirks = self.quirks_for(&head, parsed.as_ref());
        let key = self.key_of(&head);
        let mut call =
            self.receive(&head, &body, began, key.as_ref().ok().copied(), endpoints::name(path), reset);
        let standing = key.as_ref().ok().map(|&key| self.enter_window(key));
        if head.method == Method::POST && standing.is_some_and(|standing| standing.allowed) {
            mave::take_place(path, &mut call);
        }
        if !quirks.delay.is_zero() {
            tokio::time::sleep(quirks.delay).await;
        }
        if quirks.answer == Answer::SlowHead {
            tokio::time::sleep(Duration::from_secs(quirks.at as u64)).await;
        }
        if quirks.answer == Answer::ResetBefore {
            call.reset_connection();
            return Err(io::Error::other("simulated reset"));
        }
        let query = head.uri.query().unwrap_or_default();
        let said = key
            .and_then(|key| self.may(key, standing))
            .and_then(|()| staged(&quirks))
            .and_then(|()| endpoints::find(path).ok_or_else(ApiError::not_found))
            .and_then(|(template, id)| {
                let ask = Ask { id, query, body: parsed.as_ref(), quirks: &quirks };
                self.route(&head.method, template, &ask, &mut call)
            });
        let mut response = write(said, &quirks, call);
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

    fn route(
        &self,
        method: &Method,
        template: &str,
        ask: &Ask<'_>,
        call: &mut Call,
    ) -> Result<Said, ApiError> {
        match (method.as_str(), template) {
            ("GET", "/video-analyses") => Ok(self.video_analyses(ask)),
            ("POST", "/video-analyses") => self.create_job(Kind::VideoAnalysis, ask, call),
            ("GET", "/video-analyses/{id}") => self.job(Kind::VideoAnalysis, ask),
            ("POST", "/video-analyses/{id}/chat") => self.video_chat(ask, call),
            ("POST", "/responses") => self.responses(ask, call),
            ("POST", "/chat/completions") => self.chat_completions(ask, call),
            ("POST", "/mave/chat") => self.talk(ask, call),
            ("GET", "/mave/threads") => Ok(self.threads(ask)),
            ("GET", "/mave/threads/{id}") => self.thread(ask),
            ("POST", "/focus-groups") => self.create_job(Kind::FocusGroup, ask, call),
            ("GET", "/focus-groups/{id}") => self.job(Kind::FocusGroup, ask),
            ("GET", "/generations") => Ok(self.generations(ask)),
            ("POST", "/generations") => self.generate(ask, call),
            ("GET", "/generation-apps") => Ok(generations::apps(ask)),
            ("GET", "/brand-voices") => Ok(self.brand_voices(ask)),
            ("POST", "/brand-voices") => self.create_job(Kind::BrandVoice, ask, call),
            ("GET", "/brand-voices/{id}") => self.job(Kind::BrandVoice, ask),
            ("GET", "/personas") => Ok(self.personas(ask)),
            ("POST", "/personas") => self.create_persona(ask, call),
            ("GET", "/news/stories/trending") => Ok(news::trending()),
            ("GET", "/news/stories/personalized") => news::personalized(ask),
            ("GET", "/news/stories/{id}") => news::story(ask),
            ("POST", "/news/stories/{id}/analyze") => self.analyze_story(ask, call),
            ("POST", "/news/stories/{id}/chat") => self.chat_about_story(ask, call),
            ("POST", "/files/upload-url") => Ok(self.upload_url(ask)),
            ("GET", "/files") => Ok(self.files(ask)),
            ("POST", "/files") => Ok(self.create_file(ask)),
            ("GET", "/usage") => Ok(Said::Free(200, self.usage())),
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    /// The controls of the simulator itself: `GET /sim/books`, `PUT /sim/quirks`.
    fn control(&self, path: &str, method: &Method, body: &Bytes) -> Response<SimBody> {
        let call = self.unrecorded();
        match (method, path) {
            (&Method::GET, "books") => {
                let books = self.books(|books| json!(books));
                whole(200, books.to_string().into(), call)
            }
            (&Method::PUT, "quirks") => match Quirks::default().with(&String::from_utf8_lossy(body)) {
                Ok(quirks) => {
                    self.set_quirks(quirks);
                    whole(200, "{}".into(), call)
                }
                Err(error) => whole(400, json!({ "error": error }).to_string().into(), call),
            },
            _ => whole(404, "{}".into(), call),
        }
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
