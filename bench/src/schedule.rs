//! Callers that call at a fixed rate, whether answers come or not, and one that waits for a stream's first byte.
//!
//! A call's latency counts from the moment it was meant to be sent, not from when its caller got to it: a proxy that
//! stalls would otherwise hide the wait of all the calls that its stall kept from being sent.
//!
//! Callers are threads that block: a thread sleeps to within some fifty microseconds, an event loop's timer to a
//! millisecond.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::calls::{self, Reading};
use crate::lanes::Lane;
use crate::now;
use crate::proxies::Target;

/// Makes `calls` calls of a lane at `per_second` a second over all callers. Returns their latencies in microseconds.
pub fn run(target: &Target, lane: &Lane, calls: u32, per_second: u32) -> Result<Vec<f64>, String> {
    let request = calls::request(target, lane);
    let mut connections = (0..lane.callers)
        .map(|_| Connection::open(target))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| error.to_string())?;
    // Far enough ahead that all threads are there when their first call is due.
    let start = now() + Duration::from_millis(50);
    std::thread::scope(|scope| {
        let (request, callers) = (&request, lane.callers);
        let threads: Vec<_> = connections
            .iter_mut()
            .zip(0..)
            .map(|(connection, caller)| {
                scope.spawn(move || {
                    let elapsed = || now().saturating_duration_since(start);
                    let wait = |due: Duration| {
                        std::thread::sleep((start + due).saturating_duration_since(now()));
                    };
                    let due = due(caller, callers, calls, per_second);
                    paced(due, elapsed, wait, || connection.call(request).map(drop))
                })
            })
            .collect();
        let mut latencies = Vec::with_capacity(calls as usize);
        for thread in threads {
            let called = thread.join().map_err(|_| "a caller panicked".to_owned())?;
            latencies.extend(called.map_err(|error| error.to_string())?);
        }
        Ok(latencies)
    })
}

/// Makes `calls` calls one after the other. Returns the times to the first bytes of their bodies in microseconds.
pub fn first_bytes(target: &Target, lane: &Lane, calls: u32) -> Result<Vec<f64>, String> {
    let request = calls::request(target, lane);
    let called = Connection::open(target).and_then(|mut connection| {
        (0..calls).map(|_| Ok(connection.call(&request)?.as_secs_f64() * 1e6)).collect::<io::Result<_>>()
    });
    called.map_err(|error| error.to_string())
}

/// When one of so many callers' calls are due, after the start: callers take turns at an even pace.
fn due(caller: u32, callers: u32, calls: u32, per_second: u32) -> impl Iterator<Item = Duration> {
    let call = move |number: u32| Duration::from_secs(u64::from(number)) / per_second;
    (caller..calls).step_by(callers as usize).map(call)
}

/// Makes a call at each due time, or as soon after it as the one before has ended, and counts from the due time.
fn paced(
    due: impl Iterator<Item = Duration>,
    elapsed: impl Fn() -> Duration,
    wait: impl Fn(Duration),
    mut call: impl FnMut() -> io::Result<()>,
) -> io::Result<Vec<f64>> {
    due.map(|due| {
        wait(due);
        call()?;
        Ok(elapsed().saturating_sub(due).as_secs_f64() * 1e6)
    })
    .collect()
}

struct Connection {
    tcp: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(target: &Target) -> io::Result<Self> {
        let tcp = TcpStream::connect(target.address)?;
        tcp.set_nodelay(true)?;
        Ok(Self { tcp, buffer: vec![0; 64 << 10] })
    }

    /// Makes a call, and returns how long its body's first byte took.
    fn call(&mut self, request: &[u8]) -> io::Result<Duration> {
        let began = now();
        self.tcp.write_all(request)?;
        let (mut reading, mut first) = (Reading::default(), None);
        loop {
            let count = self.tcp.read(&mut self.buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let whole = reading.take(&self.buffer[..count])?;
            if reading.has_body() {
                first.get_or_insert_with(|| now() - began);
            }
            if whole {
                return Ok(first.unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn callers_take_turns() {
        let milliseconds = |caller| due(caller, 2, 5, 1000).map(|due| due.as_millis()).collect::<Vec<_>>();
        assert_eq!(milliseconds(0), [0, 2, 4]);
        assert_eq!(milliseconds(1), [1, 3]);
    }

    #[test]
    fn a_stall_counts_for_every_call_it_held_up() {
        let clock = Cell::new(Duration::ZERO);
        let mut services = [1, 35, 1, 1, 1, 1].into_iter();
        let latencies = paced(
            (0..6).map(|call| Duration::from_millis(10 * call)),
            || clock.get(),
            |due| clock.set(clock.get().max(due)),
            || {
                clock.set(clock.get() + Duration::from_millis(services.next().unwrap()));
                Ok(())
            },
        )
        .unwrap();
        // The call due at 10 ms ends at 45; those due at 20, 30 and 40 start late, and their wait counts.
        assert_eq!(latencies, [1000.0, 35_000.0, 26_000.0, 17_000.0, 8000.0, 1000.0]);
    }
}
