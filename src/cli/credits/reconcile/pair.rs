//! Which charge is which call: by the id of the response, by the id that the caller saw, and at last by time and route, where it can
//! only be that one.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::SignedDuration;

use super::list::Charge;
use crate::ledger::CallId;
use crate::ledger::facts::Booked;

/// How long before a call is held it may be charged, clocks being what they are.
const BEFORE: SignedDuration = SignedDuration::from_secs(5);
/// And how long after: the longest that a call takes unless configured otherwise, and a little.
const AFTER: SignedDuration = SignedDuration::from_secs(10 * 60 + 5);

type Pairs<'l> = Vec<(&'l Charge, &'l Booked)>;

/// Charges and their calls.
#[derive(Debug, Default)]
pub(super) struct Paired<'l> {
    pub(super) by_id: Pairs<'l>,
    /// These and the next are in doubt: what they cost is what the charge says.
    pub(super) by_request: Pairs<'l>,
    pub(super) by_time: Pairs<'l>,
    /// That no call is known of.
    pub(super) left: Vec<&'l Charge>,
}

/// Pairs the charges of a list with calls: those that have a response id, and those in doubt.
pub(super) fn pair<'l>(
    theirs: &'l BTreeMap<String, Charge>,
    ours: &'l BTreeMap<String, Booked>,
    doubt: &'l [(Booked, String)],
) -> Paired<'l> {
    let mut paired = Paired::default();
    let mut open: Vec<&Charge> = Vec::new();
    for (id, charge) in theirs {
        match ours.get(id) {
            Some(booked) => paired.by_id.push((charge, booked)),
            None => open.push(charge),
        }
    }
    // What has a response id of its own is that one, or none of the list.
    let unnamed = doubt.iter().map(|(booked, _)| booked).filter(|booked| booked.response_id.is_empty());
    let mut unnamed: Vec<&Booked> = unnamed.collect();
    let mut by_request: HashMap<&str, Vec<&Booked>> = HashMap::new();
    for booked in &unnamed {
        by_request.entry(&booked.request_id).or_default().push(booked);
    }
    let mut taken: HashSet<CallId> = HashSet::new();
    open.retain(|charge| {
        // A list that has the callers' ids alone has them where those of responses would be.
        let request = charge.request_id.as_deref().unwrap_or(&charge.id);
        // An id is the caller's, and may be one of several calls.
        let Some([booked]) = by_request.get(request).map(Vec::as_slice) else { return true };
        if !taken.insert(booked.call) {
            return true;
        }
        paired.by_request.push((charge, booked));
        false
    });
    unnamed.retain(|booked| !taken.contains(&booked.call));
    let may_be = |charge: &Charge, booked: &Booked| {
        let Some(at) = charge.at else { return false };
        let since = at.duration_since(booked.held);
        let same_route = charge.route.as_ref().is_none_or(|route| *route == booked.route);
        same_route && since >= -BEFORE && since <= AFTER
    };
    let only_for = |charge: &Charge| {
        let mut may = unnamed.iter().filter(|booked| may_be(charge, booked));
        may.next().filter(|_| may.next().is_none()).copied()
    };
    let is_only = |booked: &Booked| open.iter().filter(|charge| may_be(charge, booked)).count() == 1;
    for charge in &open {
        match only_for(charge).filter(|booked| is_only(booked)) {
            Some(booked) => paired.by_time.push((charge, booked)),
            None => paired.left.push(charge),
        }
    }
    paired
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::civil::date;

    use super::*;
    use crate::credits::Credits;

    fn charge(id: &str, at: Option<&str>, route: Option<&str>) -> (String, Charge) {
        let at = at.map(|at| at.parse().unwrap());
        let route = route.map(str::to_owned);
        (id.into(), Charge { id: id.into(), credits: Credits::whole(2), request_id: None, at, route })
    }

    fn doubt(call: CallId, request_id: &str, held: &str, route: &str) -> (Booked, String) {
        let held: Timestamp = held.parse().unwrap();
        let booked = Booked {
            call,
            day: date(2026, 11, 1),
            team: "growth".into(),
            key_id: "k".into(),
            route: route.into(),
            request_id: request_id.into(),
            response_id: String::new(),
            outcome: "crashed".into(),
            credits: Credits::whole(5),
            in_doubt: true,
            held,
        };
        (booked, "crash".into())
    }

    fn ids<'p>(pairs: &'p Pairs<'_>) -> Vec<(&'p str, CallId)> {
        pairs.iter().map(|(charge, booked)| (charge.id.as_str(), booked.call)).collect()
    }

    #[test]
    fn a_charge_is_paired_by_time_only_where_it_can_only_be_that_call() {
        let ours = BTreeMap::new();
        let doubt = [
            doubt(1, "a", "2026-11-01T10:00:00Z", "video_chat"),
            doubt(2, "b", "2026-11-01T12:00:00Z", "video_chat"),
            doubt(3, "c", "2026-11-01T12:00:10Z", "responses"),
            doubt(4, "d", "2026-11-01T14:00:00Z", "video_chat"),
            doubt(5, "e", "2026-11-01T14:00:01Z", "video_chat"),
            doubt(6, "f", "2026-11-01T16:00:00Z", "video_chat"),
        ];
        let theirs = BTreeMap::from([
            charge("alone", Some("2026-11-01T10:00:02Z"), None),
            charge("by_route", Some("2026-11-01T12:00:11Z"), Some("responses")),
            charge("either", Some("2026-11-01T14:00:02Z"), None),
            charge("f", None, None),
            charge("late", Some("2026-11-01T10:30:00Z"), None),
            charge("no_time", None, None),
        ]);
        let paired = pair(&theirs, &ours, &doubt);
        assert_eq!(ids(&paired.by_time), [("alone", 1), ("by_route", 3)]);
        assert_eq!(ids(&paired.by_request), [("f", 6)]);
        let left: Vec<_> = paired.left.iter().map(|charge| charge.id.as_str()).collect();
        assert_eq!(left, ["either", "late", "no_time"]);
    }

    #[test]
    fn two_charges_that_may_be_one_call_are_paired_with_none() {
        let doubt = [doubt(1, "a", "2026-11-01T10:00:00Z", "video_chat")];
        let theirs = BTreeMap::from([
            charge("one", Some("2026-11-01T10:00:02Z"), None),
            charge("two", Some("2026-11-01T10:00:03Z"), None),
        ]);
        let ours = BTreeMap::new();
        assert!(pair(&theirs, &ours, &doubt).by_time.is_empty());
    }

    #[test]
    fn an_id_that_several_calls_have_names_none_of_them() {
        let at = "2026-11-01T10:00:00Z";
        let doubt = [doubt(1, "same", at, "video_chat"), doubt(2, "same", at, "video_chat")];
        let theirs = BTreeMap::from([charge("same", None, None)]);
        let ours = BTreeMap::new();
        assert!(pair(&theirs, &ours, &doubt).by_request.is_empty());
    }
}
