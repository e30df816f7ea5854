//! An entry as it is written: the one form that the journal holds and the database is filled from.
//!
//! Each version is read for ever. What is added gets a new [`VERSION`], and a reader for the one before.

mod v1;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::{ToSpan, Unit};
use serde::{Deserialize, Serialize};

use super::facts::{
    Aside, Basis, CallId, Command, Ending, JobEvent, NEVER_SENT, NewEnding, NewHold, NewJob, NewSaving, Retry,
};
use super::rows::Span;
use crate::credits::Credits;
use crate::refuse::Code;

/// Of what is written. An entry of version 1 had no member, no retry and no replica; version 2 had no savings, version 3
/// neither jobs nor things, and version 4 neither waits nor asks: they are read as what they are, the same without them.
pub const VERSION: u8 = 5;

/// An entry, borrowed from where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// Credits are held for a call.
    #[serde(borrow)]
    Hold(HoldEntry<'a>),
    /// They are spent or free.
    End(EndEntry<'a>),
    /// Copies of a call were given its answer.
    Saved(SavingEntry<'a>),
    /// Something has become of a job.
    Job(JobEntry<'a>),
    /// Something was made, and belongs to a team.
    Made(ThingEntry<'a>),
    /// A call has waited.
    Waited(WaitEntry),
    /// Calls have asked that no other entry tells of.
    Asked(AskEntry<'a>),
}

/// A hold. Amounts are millionths of a credit, times microseconds since the epoch, days since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `bookings`")]
pub struct HoldEntry<'a> {
    pub call: CallId,
    pub at: i64,
    pub day: i32,
    pub team: &'a str,
    pub key_id: &'a str,
    /// Whoever called by another way than a key; empty for none.
    pub member: &'a str,
    pub route: &'a str,
    pub request_id: &'a str,
    pub reserve: i64,
    /// What tells its retries from other calls.
    pub retry: Option<Retry>,
    /// Which of several gateways wrote it; 0 where there is one.
    pub replica: u32,
}

/// An ending: what its hold does not say already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `bookings`")]
pub struct EndEntry<'a> {
    pub call: CallId,
    pub at: i64,
    pub kind: Kind,
    pub credits: i64,
    pub reason: Option<&'a str>,
    pub outcome: &'a str,
    pub response_id: Option<&'a str>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub sent_at: Option<i64>,
}

/// What copies of a call would have cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `savings`")]
pub struct SavingEntry<'a> {
    pub day: i32,
    pub team: &'a str,
    pub key_id: &'a str,
    pub route: &'a str,
    pub copies: u32,
    pub credits: i64,
}

/// What has become of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `jobs`")]
pub struct JobEntry<'a> {
    pub call: CallId,
    pub at: i64,
    pub team: &'a str,
    pub key_id: &'a str,
    pub route: &'a str,
    #[serde(borrow)]
    pub event: JobStep<'a>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `jobs`")]
pub enum JobStep<'a> {
    Begun {
        #[serde(borrow)]
        upstream_id: Option<&'a str>,
        day: i32,
        reserve: i64,
    },
    Over,
    Settled {
        credits: i64,
        derived: bool,
        after_all: bool,
    },
    GivenUp,
}

/// Whose a thing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `things`")]
pub struct ThingEntry<'a> {
    pub kind: &'a str,
    pub id: &'a str,
    pub team: &'a str,
    pub at: i64,
}

/// How long a call has waited before it was held, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `waits`")]
pub struct WaitEntry {
    pub call: CallId,
    pub queued: i64,
}

/// Calls of one minute that were refused, or cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `asks`")]
pub struct AskEntry<'a> {
    /// Since the epoch.
    pub minute: i64,
    pub team: &'a str,
    pub route: &'a str,
    /// Empty if they were served.
    pub code: &'a str,
    pub count: u32,
    /// A bit for each second of the minute.
    pub seconds: i64,
}

/// How a hold ends, and what the price rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Spent, as the upstream says.
    Final,
    /// Spent, as far as anybody knows.
    Estimated,
    /// Free.
    Voided,
    /// Spent, as follows from the upstream's bill, which can be explained by this call only.
    Derived,
}

impl EndEntry<'_> {
    /// How many calls this is the end of, for whoever counts those that the upstream was sent.
    pub(super) fn calls(&self) -> i64 {
        i64::from(self.reason != Some(NEVER_SENT))
    }
}

impl<'a> Entry<'a> {
    /// Appends its bytes to others.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Into memory, and of plain numbers and text: this cannot fail.
        *out = postcard::to_extend(self, std::mem::take(out)).unwrap_or_default();
    }

    /// The entries in these bytes, one behind the other. Ends where they cannot be read.
    pub fn read_all(mut bytes: &'a [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (entry, rest) = postcard::take_from_bytes(bytes).ok()?;
            bytes = rest;
            Some(entry)
        })
    }

    /// Whether these bytes are entries to their end.
    #[must_use]
    pub fn are_whole(mut bytes: &'a [u8]) -> bool {
        while !bytes.is_empty() {
            match postcard::take_from_bytes::<Self>(bytes) {
                Ok((_, rest)) => bytes = rest,
                Err(_) => return false,
            }
        }
        true
    }

    /// The one entry in bytes that version 1 wrote.
    #[must_use]
    pub fn read_v1(bytes: &'a [u8]) -> Option<Self> {
        v1::read(bytes)
    }
}

impl<'a> From<&'a Command> for Entry<'a> {
    fn from(command: &'a Command) -> Self {
        match command {
            Command::Hold(hold) => Self::Hold(hold.into()),
            Command::End(ending) => Self::End(ending.into()),
            Command::Aside(Aside::Saved(saving)) => Self::Saved(saving.into()),
            Command::Aside(Aside::Waited(wait)) => {
                let queued = i64::try_from(wait.queued.as_micros()).unwrap_or(i64::MAX);
                Self::Waited(WaitEntry { call: wait.call, queued })
            }
            Command::Aside(Aside::Asked(asks)) => Self::Asked(AskEntry {
                minute: asks.minute,
                team: &asks.team,
                route: asks.route.label(),
                code: asks.code.map_or("", Code::as_str),
                count: asks.count,
                seconds: asks.seconds.cast_signed(),
            }),
            Command::Job(job) => Self::Job(job.into()),
            Command::Made(made) => Self::Made(ThingEntry {
                kind: made.thing.name(),
                id: &made.id,
                team: &made.team,
                at: made.at.as_microsecond(),
            }),
        }
    }
}

impl<'a> From<&'a NewHold> for HoldEntry<'a> {
    fn from(hold: &'a NewHold) -> Self {
        Self {
            call: hold.call,
            at: hold.at.as_microsecond(),
            day: days_since_epoch(hold.day),
            team: &hold.account.team,
            key_id: &hold.account.key_id,
            member: "",
            route: hold.account.route_label(),
            request_id: &hold.request_id,
            reserve: signed(hold.reserve),
            retry: hold.retry.as_deref().copied(),
            replica: 0,
        }
    }
}

impl<'a> From<&'a NewSaving> for SavingEntry<'a> {
    fn from(saving: &'a NewSaving) -> Self {
        Self {
            day: days_since_epoch(saving.day),
            team: &saving.account.team,
            key_id: &saving.account.key_id,
            route: saving.account.route_label(),
            copies: saving.copies,
            credits: signed(saving.credits),
        }
    }
}

impl<'a> From<&'a NewJob> for JobEntry<'a> {
    fn from(job: &'a NewJob) -> Self {
        Self {
            call: job.call,
            at: job.at.as_microsecond(),
            team: &job.account.team,
            key_id: &job.account.key_id,
            route: job.account.route_label(),
            event: match &job.event {
                JobEvent::Begun { upstream_id, day, reserve } => JobStep::Begun {
                    upstream_id: upstream_id.as_deref(),
                    day: days_since_epoch(*day),
                    reserve: signed(*reserve),
                },
                JobEvent::Over => JobStep::Over,
                JobEvent::Settled { credits, basis, after_all } => JobStep::Settled {
                    credits: signed(*credits),
                    derived: *basis == Basis::Derived,
                    after_all: *after_all,
                },
                JobEvent::GivenUp { .. } => JobStep::GivenUp,
            },
        }
    }
}

impl<'a> From<&'a NewEnding> for EndEntry<'a> {
    fn from(ending: &'a NewEnding) -> Self {
        let (kind, credits, reason) = match ending.ending {
            Ending::Settled { credits, basis: Basis::Final, reason } => {
                (Kind::Final, signed(credits), Some(reason).filter(|reason| !reason.is_empty()))
            }
            Ending::Settled { credits, basis: Basis::Derived, .. } => (Kind::Derived, signed(credits), None),
            Ending::Settled { credits, basis: Basis::Estimated, reason } => {
                (Kind::Estimated, signed(credits), Some(reason))
            }
            Ending::Voided { reason } => (Kind::Voided, 0, Some(reason)),
        };
        Self {
            call: ending.call,
            at: ending.at.as_microsecond(),
            kind,
            credits,
            reason,
            outcome: ending.outcome,
            response_id: ending.response_id.as_deref(),
            input_tokens: tokens(ending.usage.input_tokens),
            output_tokens: tokens(ending.usage.output_tokens),
            sent_at: ending.sent_at.map(Timestamp::as_microsecond),
        }
    }
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// A day as it is written.
pub(super) fn days_since_epoch(day: Date) -> i32 {
    EPOCH.until((Unit::Day, day)).map_or(0, |span| span.get_days())
}

/// The first and the last day of a span, as columns have days.
pub(super) fn days(span: Span) -> [i32; 2] {
    [span.since, span.until].map(days_since_epoch)
}

/// A day as it was written; one that nobody could have written is the first of all.
pub(super) fn day_of(days: i64) -> Date {
    i32::try_from(days).ok().and_then(|days| EPOCH.checked_add(days.days()).ok()).unwrap_or(Date::MIN)
}

/// An amount as it is written.
pub(crate) fn signed(credits: Credits) -> i64 {
    i64::try_from(credits.millionths()).unwrap_or(i64::MAX)
}

fn tokens(count: Option<u64>) -> Option<i64> {
    count.and_then(|count| i64::try_from(count).ok())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn days_are_read_as_they_were_written() {
        for day in [date(1970, 1, 1), date(2026, 11, 27), date(2028, 2, 29), date(1969, 12, 31)] {
            assert_eq!(day_of(days_since_epoch(day).into()), day);
        }
        assert_eq!(days_since_epoch(date(1970, 1, 2)), 1);
        assert_eq!(day_of(i64::MAX), Date::MIN);
    }
}
