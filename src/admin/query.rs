//! The query of a request for data.

use super::answers::Denied;
use crate::credits::period::Period;
use crate::ledger::{Basis, Search};

/// Calls of one page, unless asked for otherwise, and at most.
const CALLS: usize = 50;
const MAX_CALLS: usize = 200;

/// The query of a request for data.
pub(super) struct Query<'q>(pub(super) &'q str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        pairs.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.into_owned())
    }

    pub(super) fn per(&self) -> Result<Period, Denied> {
        match self.get("per").as_deref() {
            None | Some("day") => Ok(Period::Day),
            Some("week") => Ok(Period::Week),
            Some("month") => Ok(Period::Month),
            Some(_) => Err(Denied::Parameter("`per` is day, week or month.".into())),
        }
    }

    pub(super) fn search(&self) -> Result<Search, Denied> {
        let limit = self.number("limit")?.map_or(CALLS, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if !(1..=MAX_CALLS).contains(&limit) {
            return Err(Denied::Parameter(format!("`limit` is 1 to {MAX_CALLS}.")));
        }
        Ok(Search {
            team: self.get("team"),
            outcome: self.get("outcome"),
            basis: self.basis()?,
            id: self.get("id"),
            before: self.number("before")?,
            limit,
        })
    }

    fn basis(&self) -> Result<Option<Basis>, Denied> {
        let Some(text) = self.get("basis") else { return Ok(None) };
        let basis = Basis::ALL.into_iter().find(|basis| basis.as_str() == text);
        basis.map(Some).ok_or_else(|| Denied::Parameter("`basis` is final, estimated or derived.".into()))
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Denied> {
        self.get(name)
            .map(|text| {
                let number = text.parse().ok().filter(|number| *number >= 0);
                number.ok_or_else(|| Denied::Parameter(format!("`{name}` is a whole number.")))
            })
            .transpose()
    }
}
