//! Limits of one caller's address, whoever it says it is: open connections, and keys that are not valid. Bounded: beyond
//! so many addresses all others are one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Addresses that are told apart.
const MOST: usize = 1 << 16;

/// What is counted as one: an address, or the network that one subscriber has at least (RFC 6177: /64).
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    }
}

/// Stands for all addresses beyond the bound.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Where an address is counted, in a map that is full or not.
fn slot<T>(map: &HashMap<IpAddr, T>, address: IpAddr) -> IpAddr {
    let address = counted_as(address);
    if map.len() < MOST || map.contains_key(&address) { address } else { OTHERS }
}

/// Open connections by address.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One open connection.
#[derive(Debug)]
pub struct Connected {
    of: Connections,
    slot: IpAddr,
}

impl Connections {
    /// One more from that address, if it has fewer than `limit` open.
    #[must_use]
    pub fn open(&self, address: IpAddr, limit: usize) -> Option<Connected> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slot(&map, address);
        let open = map.entry(slot).or_default();
        if *open >= limit {
            return None;
        }
        *open += 1;
        Some(Connected { of: self.clone(), slot })
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut map = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = map.get_mut(&self.slot) {
            *open -= 1;
            if *open == 0 {
                map.remove(&self.slot);
            }
        }
    }
}

/// Keys that are not valid, by address: so many a minute, evenly.
#[derive(Clone, Debug, Default)]
pub struct BadKeys(Arc<Mutex<HashMap<IpAddr, Instant>>>);

impl BadKeys {
    /// How long that address has sent too many for, and has to wait.
    #[must_use]
    pub fn wait(&self, address: IpAddr, per_minute: u32, now: Instant) -> Option<Duration> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // None at all is the usual case, and costs no more than this.
        let paid_at = *map.get(&slot(&map, address))?;
        let step = Duration::from_mins(1) / per_minute;
        let wait = (paid_at + step).saturating_duration_since(now + Duration::from_mins(1));
        (!wait.is_zero()).then_some(wait)
    }

    /// One more came from there.
    pub fn count(&self, address: IpAddr, per_minute: u32, now: Instant) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MOST {
            map.retain(|_, paid_at| *paid_at > now);
        }
        let slot = slot(&map, address);
        let paid_at = map.entry(slot).or_insert(now);
        *paid_at = (*paid_at).max(now) + Duration::from_mins(1) / per_minute;
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
    fn beyond_the_bound_all_addresses_are_one() {
        let (keys, now) = (BadKeys::default(), Clock::system().now());
        for number in (0u32..).take(MOST + 100) {
            keys.count(v4(number), 6, now);
        }
        assert!(keys.0.lock().unwrap().len() <= MOST + 1);
        assert!(keys.wait(v4(u32::MAX), 6, now).is_some());
        keys.count(v4(5), 6, now + Duration::from_mins(2));
        assert!(keys.0.lock().unwrap().len() <= 2, "what has passed makes room");
    }
}
