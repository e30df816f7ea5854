//! What goes on, what of it was told, and what is to be told now.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::condition::{Condition, Kind};

/// What goes on and was told, or will be if it goes on.
#[derive(Debug, Default)]
pub(super) struct Outstanding(BTreeMap<(Kind, String), Going>);

#[derive(Debug)]
struct Going {
    since: Instant,
    /// When it was last seen.
    seen: Instant,
    /// At which level it was told, if it was.
    told: Option<u64>,
    latest: Condition,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) is_over: bool,
    pub(super) condition: Condition,
}

impl Outstanding {
    /// Takes up what goes on at this moment. Returns what is to be told of it, once.
    pub(super) fn look(&mut self, conditions: Vec<Condition>, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        for condition in conditions {
            let key = (condition.kind, condition.subject.clone());
            let going = self.0.entry(key).or_insert_with(|| Going {
                since: now,
                seen: now,
                told: None,
                latest: condition.clone(),
            });
            (going.seen, going.latest) = (now, condition);
            let has_lasted = now.saturating_duration_since(going.since) >= going.latest.kind.begins_after();
            if has_lasted && going.told.is_none_or(|level| level < going.latest.level) {
                going.told = Some(going.latest.level);
                events.push(Event { is_over: false, condition: going.latest.clone() });
            }
        }
        self.0.retain(|(kind, _), going| {
            if going.seen == now {
                return true;
            }
            // What was never told need not be told to be over.
            let is_over =
                going.told.is_none() || now.saturating_duration_since(going.seen) >= kind.ends_after();
            if is_over && going.told.is_some() {
                events.push(Event { is_over: true, condition: going.latest.clone() });
            }
            !is_over
        });
        events
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn condition(kind: Kind, level: u64) -> Condition {
        Condition {
            kind,
            subject: "team growth".into(),
            level,
            is_critical: false,
            message: level.to_string(),
        }
    }

    /// What is told after so many seconds, when this goes on.
    fn told(
        outstanding: &mut Outstanding,
        began: Instant,
        seconds: u64,
        conditions: &[Condition],
    ) -> Vec<(bool, u64)> {
        let events = outstanding.look(conditions.to_vec(), began + Duration::from_secs(seconds));
        events.into_iter().map(|event| (event.is_over, event.condition.level)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_is_told_once_again_when_it_rises_and_once_when_it_is_over() {
        let (mut all, began) = (Outstanding::default(), crate::clock::Clock::system().now());
        let budget = |level| [condition(Kind::BudgetThreshold, level)];
        assert_eq!(told(&mut all, began, 0, &budget(75)), [(false, 75)]);
        assert_eq!(told(&mut all, began, 5, &budget(75)), []);
        assert_eq!(told(&mut all, began, 10, &budget(90)), [(false, 90)]);
        assert_eq!(told(&mut all, began, 15, &budget(75)), [], "what falls is no news");
        assert_eq!(told(&mut all, began, 20, &budget(90)), []);
        assert_eq!(told(&mut all, began, 25, &[]), [(true, 90)]);
        assert_eq!(told(&mut all, began, 30, &[]), []);
        assert_eq!(told(&mut all, began, 35, &budget(75)), [(false, 75)], "another period");
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_by_itself_is_told_to_nobody_and_what_comes_back_is_one_thing() {
        let (mut all, began) = (Outstanding::default(), crate::clock::Clock::system().now());
        let state = [condition(Kind::UpstreamState, 1)];
        assert_eq!(told(&mut all, began, 0, &state), []);
        assert_eq!(told(&mut all, began, 20, &[]), []);
        assert_eq!(told(&mut all, began, 100, &state), [], "it begins anew");
        assert_eq!(told(&mut all, began, 129, &state), []);
        assert_eq!(told(&mut all, began, 130, &state), [(false, 1)]);
        assert_eq!(told(&mut all, began, 150, &[]), [], "it may come back");
        assert_eq!(told(&mut all, began, 180, &state), []);
        assert_eq!(told(&mut all, began, 239, &[]), []);
        assert_eq!(told(&mut all, began, 240, &[]), [(true, 1)]);
    }
}
