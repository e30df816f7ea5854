//! What endpoints have to say, and how it is written: whole, or with what the quirks do to it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::body::{End, SimBody};
use crate::call::Call;
use crate::errors::ApiError;
use crate::quirks::{Answer, Fault, Quirks};

/// What an endpoint has to say.
pub(super) enum Said {
    /// Of what is free: written whole.
    Free(u16, Value),
    /// Of what is paid for: what goes wrong with answers goes wrong with it.
    Paid(u16, Bytes),
    /// The same as an event stream, write by write.
    Stream(Vec<Bytes>),
}

/// The answers that replace the endpoint's own. Those that are no error come later.
pub(super) fn staged(quirks: &Quirks) -> Result<(), ApiError> {
    match quirks.answer {
        Answer::RateLimited => Err(ApiError::rate_limited(Some(7))),
        Answer::RateLimitedBare => Err(ApiError::rate_limited(None)),
        Answer::InternalError => Err(ApiError::internal()),
        Answer::Unavailable => Err(ApiError::unavailable()),
        Answer::Exhausted => Err(ApiError::credits_exhausted()),
        Answer::OverBudget => Err(ApiError::workspace_budget()),
        Answer::Lapsed => Err(ApiError::lapsed()),
        _ => Ok(()),
    }
}

/// Writes an answer.
pub(super) fn write(said: Result<Said, ApiError>, quirks: &Quirks, call: Call) -> Response<SimBody> {
    let mut response = match said {
        Ok(Said::Free(status, document)) => whole(status, document.to_string().into(), call),
        Ok(Said::Paid(status, document)) => paid(status, document, quirks, call),
        Ok(Said::Stream(writes)) => stream(writes, quirks, call),
        Err(error) => {
            let mut response = whole(error.status, error.body.to_string().into(), call);
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
    response
}

/// A JSON document in one piece.
pub(super) fn whole(status: u16, document: Bytes, call: Call) -> Response<SimBody> {
    call.answered(status, None);
    respond(status, "application/json", SimBody::whole(document, call))
}

fn paid(status: u16, document: Bytes, quirks: &Quirks, call: Call) -> Response<SimBody> {
    call.answered(status, None);
    let call = match instead(status, quirks, call) {
        Ok(response) => return response,
        Err(call) => call,
    };
    let body = match quirks.answer {
        Answer::SlowBody => {
            let exact = Some(document.len() as u64);
            let bytes: VecDeque<_> = (0..document.len()).map(|at| document.slice(at..=at)).collect();
            SimBody::new(bytes, exact, End::Whole, Duration::from_millis(10), call)
        }
        Answer::ResetAfter => {
            SimBody::new([document].into(), None, End::WholeThenReset, Duration::ZERO, call)
        }
        _ => SimBody::whole(document, call),
    };
    respond(status, "application/json", body)
}

fn stream(writes: Vec<Bytes>, quirks: &Quirks, call: Call) -> Response<SimBody> {
    call.answered(200, None);
    let call = match instead(200, quirks, call) {
        Ok(response) => return response,
        Err(call) => call,
    };
    let end = match quirks.fault {
        Fault::Close => End::Close,
        Fault::Reset => End::Reset,
        Fault::Stall => End::Stall,
        _ if quirks.answer == Answer::ResetAfter => End::WholeThenReset,
        _ => End::Whole,
    };
    let body = SimBody::new(writes.into(), None, end, quirks.pace, call);
    let mut response = respond(200, "text/event-stream", body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// What comes instead of a document or a stream, if something does.
fn instead(status: u16, quirks: &Quirks, call: Call) -> Result<Response<SimBody>, Call> {
    let (content_type, text) = match quirks.answer {
        Answer::Html => {
            ("text/html", "<html><body>502 Bad Gateway {\"usage\":{\"credits_used\":9}}</body></html>")
        }
        Answer::Empty => ("application/json", ""),
        Answer::NotJson => ("text/plain", "it worked"),
        _ => return Err(call),
    };
    Ok(respond(status, content_type, SimBody::whole(text.into(), call)))
}

fn respond(status: u16, content_type: &'static str, body: SimBody) -> Response<SimBody> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
