//! What the simulator can be told to do differently: everything that is undocumented about the real
//! API, inconsistent between its pages, or simply a fault of networks.
//!
//! Quirks are written `name=value`, several separated by `;`. They are set at start
//! (`sim --quirks`), for all calls from now on (`PUT /sim/quirks`), or for one call: in the field
//! `x-sim-quirks`, or in the member `sim` of a JSON body, which survives a gateway that passes on
//! bodies but not fields. A job remembers those of its create that are about what it takes, what it
//! costs and where it says so; how its status is written is for each answer to say.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

pub use super::values::{
    Answer, Charging, Fault, Frames, Framing, Generation, JobPrice, NotCompleted, Opaque, OverConcurrency,
    RateHeaders, Refund, StatusCase, Terminator, UsageQuirk,
};

/// How the simulator deviates from its plainest behaviour. `Default` is that behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Shape of the answers to video chats: `generation=new|old`.
    pub generation: Generation,
    /// Which events a new-form stream has: `frames=full|six|extra`.
    pub frames: Frames,
    /// How a stream ends: `terminator=both|completed|done|neither`.
    pub terminator: Terminator,
    /// What the answer says about its cost, be it in `usage` or in the `credits_charged` of a persona:
    /// `usage=present|absent|no_credits|zero`. Jobs have `job_price` instead.
    pub usage: UsageQuirk,
    /// How a stream is cut into writes: `framing=frame|split|many|crlf|comments|bom`.
    pub framing: Framing,
    /// What goes wrong inside a stream: `fault=none|error_event|envelope|failed|incomplete|close|reset|stall`.
    /// The opaque streams of Mave and generations know the last three.
    pub fault: Fault,
    /// Before which event it goes wrong: `at=3`.
    pub at: usize,
    /// How the status of a job is written: `status_case=lower|upper|unknown`.
    pub status_case: StatusCase,
    /// What happens instead of an answer:
    /// `answer=ok|429|429_bare|500|503|402_exhausted|402_budget|402_lapsed|html|empty|not_json|slow_head|slow_body|reset_before|reset_after`.
    pub answer: Answer,
    /// Whether answers carry `X-RateLimit-*`: `rate_headers=present|absent`.
    pub rate_headers: RateHeaders,
    /// When a call is charged: `charging=always|before|end`. A job: when it ends, or with `before` at its create.
    pub charging: Charging,
    /// Whether a stream or a job that fails is given back: `refund=no|yes`.
    pub refund: Refund,
    /// Status of a chat about an analysis that is not completed: `not_completed=409|400|422`.
    pub not_completed: NotCompleted,
    /// Whether being over a concurrency cap names a wait: `over_concurrency=429|429_bare`.
    pub over_concurrency: OverConcurrency,
    /// Text events of a stream: `events=8`.
    pub events: usize,
    /// Bytes of text in each event: `bytes=0` for words of the answer.
    pub bytes: usize,
    /// Time between two events: `pace=20ms`.
    pub pace: Duration,
    /// Time until the head of an answer: `delay=0s`.
    pub delay: Duration,
    /// How long the job that is created takes, if not as long as its kind: `job_takes=90s`.
    pub job_takes: Option<Duration>,
    /// What a job costs, or another call that is no chat with a model: `job_cost=150`.
    pub job_cost: Option<u64>,
    /// Where a job says what it costs: `job_price=silent|create|get|charged|top`.
    pub job_price: JobPrice,
    /// What an opaque stream says about its cost: `opaque=silent|usage`.
    pub opaque: Opaque,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            generation: Generation::New,
            frames: Frames::Full,
            terminator: Terminator::Both,
            usage: UsageQuirk::Present,
            framing: Framing::Frame,
            fault: Fault::None,
            at: 4,
            status_case: StatusCase::Lower,
            answer: Answer::Ok,
            rate_headers: RateHeaders::Present,
            charging: Charging::Always,
            refund: Refund::No,
            not_completed: NotCompleted::Conflict,
            over_concurrency: OverConcurrency::RetryAfter,
            events: 8,
            bytes: 0,
            pace: Duration::ZERO,
            delay: Duration::ZERO,
            job_takes: None,
            job_cost: None,
            job_price: JobPrice::Silent,
            opaque: Opaque::Silent,
        }
    }
}

impl Quirks {
    /// These quirks, changed by `text`.
    ///
    /// # Errors
    /// The first part that names no quirk or none of its values.
    pub fn with(&self, text: &str) -> Result<Self, String> {
        let mut quirks = self.clone();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not name=value"))?;
            quirks.set(name.trim(), value.trim()).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(quirks)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<usize>().map_err(|error| error.to_string());
        let time = || {
            let span: Span = value.parse().map_err(|error: jiff::Error| error.to_string())?;
            let time =
                span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
            Duration::try_from(time).map_err(|error| error.to_string())
        };
        match name {
            "generation" => self.generation = value.parse()?,
            "frames" => self.frames = value.parse()?,
            "terminator" => self.terminator = value.parse()?,
            "usage" => self.usage = value.parse()?,
            "framing" => self.framing = value.parse()?,
            "fault" => self.fault = value.parse()?,
            "at" => self.at = number()?,
            "status_case" => self.status_case = value.parse()?,
            "answer" => self.answer = value.parse()?,
            "rate_headers" => self.rate_headers = value.parse()?,
            "charging" => self.charging = value.parse()?,
            "refund" => self.refund = value.parse()?,
            "not_completed" => self.not_completed = value.parse()?,
            "over_concurrency" => self.over_concurrency = value.parse()?,
            "events" => self.events = number()?.min(1_000_000),
            "bytes" => self.bytes = number()?.min(16 << 20),
            "pace" => self.pace = time()?,
            "delay" => self.delay = time()?,
            "job_takes" => self.job_takes = Some(time()?),
            "job_cost" => self.job_cost = Some(value.parse().map_err(|_| "is not a number of credits")?),
            "job_price" => self.job_price = value.parse()?,
            "opaque" => self.opaque = value.parse()?,
            _ => return Err("is not a quirk".into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirks_are_read_as_written() {
        let quirks = Quirks::default().with("generation=old; fault=reset; at=2; pace=5ms").unwrap();
        assert_eq!((quirks.generation, quirks.fault, quirks.at), (Generation::Old, Fault::Reset, 2));
        assert_eq!(quirks.pace, Duration::from_millis(5));
        let job = Quirks::default().with("job_takes=90s; job_cost=150; job_price=charged").unwrap();
        assert_eq!((job.job_takes, job.job_cost), (Some(Duration::from_secs(90)), Some(150)));
        assert_eq!(job.job_price, JobPrice::Charged);
        for wrong in ["generation=newest", "colour=red", "pace", "job_cost=-1"] {
            assert!(Quirks::default().with(wrong).is_err(), "{wrong}");
        }
    }
}
