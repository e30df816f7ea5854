//! Limits of one caller's address, whoever it says it is: open connections, and keys that are not valid. Bounded: beyond
//! so many addresses others are not counted, because who has so many would keep out those who have one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Addresses that are told apart.
const MOST: usize = 1 << 16;
/// How often those are looked over, where there are so many.
const SWEEP: Duration = Duration::from_secs(1);

/// What is counted as one: an address, or the network that one subscriber has at least (RFC 6177: /64).
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    }
}

/// Open connections by address.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One open connection, and where it is counted, if it is.
#[derive(Debug)]
pub struct Connected(Option<(Connections, IpAddr)>);

impl Connections {
    /// One more from that address, if it has fewer than `limit` open.
    #[must_use]
    pub fn open(&self, address: IpAddr, limit: usize) -> Option<Connected> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = counted_as(address);
        if map.len() >= MOST && !map.contains_key(&address) {
            return Some(Connected(None));
        }
        let open = map.entry(address).or_default();
        if *open >= limit {
            return None;
        }
        *open += 1;
        Some(Connected(Some((self.clone(), address))))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let Some((of, address)) = self.0.take() else { return };
        let mut map = of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = map.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                map.remove(&address);
            }
        }
    }
}

/// Keys that are not valid, by address: so many a minute, evenly.
#[derive(Clone, Debug, Default)]
pub struct BadKeys(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    /// When what an address has sent is made good.
    by_address: HashMap<IpAddr, Instant>,
    /// When those were last looked over whose time has passed.
    swept: Option<Instant>,
}

impl BadKeys {
    /// How long that address has sent too many for, and has to wait.
    #[must_use]
    pub fn wait(&self, address: IpAddr, per_minute: u32, now: Instant) -> Option<Duration> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // None at all is the usual case, and costs no more than this.
        let good_at = *counted.by_address.get(&counted_as(address))?;
        let step = Duration::from_mins(1) / per_minute;
        let wait = (good_at + step).saturating_duration_since(now + Duration::from_mins(1));
        (!wait.is_zero()).then_some(wait)
    }

    /// One more came from there.
    pub fn count(&self, address: IpAddr, per_minute: u32, now: Instant) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Counted { by_address, swept } = &mut *counted;
        if by_address.len() >= MOST && swept.is_none_or(|swept| now >= swept + SWEEP) {
            by_address.retain(|_, good_at| *good_at > now);
            *swept = Some(now);
        }
        let address = counted_as(address);
        if by_address.len() >= MOST && !by_address.contains_key(&address) {
            return;
        }
        let good_at = by_address.entry(address).or_insert(now);
        *good_at = (*good_at).max(now) + Duration::from_mins(1) / per_minute;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn v4(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn connections_are_counted_by_address_and_given_back() {
        let connections = Connections::default();
        let held: Vec<_> = (0..3).map(|_| connections.open(v4(1), 3).unwrap()).collect();
        assert!(connections.open(v4(1), 3).is_none());
        assert!(connections.open("::ffff:0.0.0.1".parse().unwrap(), 3).is_none(), "the same, mapped");
        assert!(connections.open(v4(2), 3).is_some());
        drop(held);
        assert!(connections.0.lock().unwrap().is_empty());
        let one = connections.open("2001:db8::1".parse().unwrap(), 1);
        assert!(connections.open("2001:db8::2".parse().unwrap(), 1).is_none(), "one subscriber's network");
        drop(one);
    }

    #[test]
    fn so_many_bad_keys_a_minute_pass_and_the_wait_is_true() {
        let (keys, now) = (BadKeys::default(), Clock::system().now());
        for _ in 0..6 {
            assert_eq!(keys.wait(v4(1), 6, now), None);
            keys.count(v4(1), 6, now);
        }
        assert_eq!(keys.wait(v4(1), 6, now), Some(Duration::from_secs(10)));
        assert_eq!(keys.wait(v4(2), 6, now), None);
        assert_eq!(keys.wait(v4(1), 6, now + Duration::from_secs(9)), Some(Duration::from_secs(1)));
        assert_eq!(keys.wait(v4(1), 6, now + Duration::from_secs(10)), None);
    }

    #[test]
    fn who_has_many_addresses_keeps_nobody_out_and_takes_no_more_memory() {
        let (keys, now) = (BadKeys::default(), Clock::system().now());
        for number in (0u32..).take(MOST + 100) {
            for _ in 0..7 {
                keys.count(v4(number), 6, now);
            }
        }
        assert_eq!(keys.0.lock().unwrap().by_address.len(), MOST);
        assert!(keys.wait(v4(5), 6, now).is_some());
        assert_eq!(keys.wait(v4(u32::MAX), 6, now), None);
        keys.count(v4(u32::MAX), 6, now + Duration::from_mins(2));
        assert_eq!(keys.0.lock().unwrap().by_address.len(), 1, "what has passed makes room");
    }
}
