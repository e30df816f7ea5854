//! Entries of version 1, as the first release wrote them.

use jiff::civil::Date;
use serde::Deserialize;

use super::super::facts::CallId;
use super::{EndEntry, Entry, HoldEntry, days_since_epoch};

#[derive(Deserialize)]
enum Written<'a> {
    #[serde(borrow)]
    Hold(Hold<'a>),
    End(EndEntry<'a>),
}

#[derive(Deserialize)]
struct Hold<'a> {
    call: CallId,
    at: i64,
    /// Year, month, day.
    day: (i16, i8, i8),
    team: &'a str,
    key_id: &'a str,
    route: &'a str,
    request_id: &'a str,
    reserve: i64,
}

/// The entry in these bytes. Endings have not changed since.
pub(super) fn read(bytes: &[u8]) -> Option<Entry<'_>> {
    Some(match postcard::from_bytes(bytes).ok()? {
        Written::End(ending) => Entry::End(ending),
        Written::Hold(Hold {
            call,
            at,
            day: (year, month, day),
            team,
            key_id,
            route,
            request_id,
            reserve,
        }) => {
            let day = days_since_epoch(Date::new(year, month, day).ok()?);
            let (member, retry, replica) = ("", None, 0);
            Entry::Hold(HoldEntry {
                call,
                at,
                day,
                team,
                key_id,
                member,
                route,
                request_id,
                reserve,
                retry,
                replica,
            })
        }
    })
}
