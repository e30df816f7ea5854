//! How a change of keys comes in force: the ledger is looked at four times a second, on a thread of its own. No request ever
//! waits for that.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Histogram;

use crate::clock::Clock;
use crate::config::Ledger;
use crate::ledger::{KeyEvent, KeyRegister, LedgerError, home};
use crate::live::Live;
use crate::metrics::Metrics;

/// How often is looked. A revocation holds within a second of its event, everywhere.
const LOOK: Duration = Duration::from_millis(250);
/// Events that are looked through at once.
const EVENTS: usize = 1000;

/// What is told of changes.
#[derive(Clone, Debug)]
pub struct Counts {
    revocation: Histogram,
}

impl Counts {
    /// Once per registry.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            revocation: metrics.histogram(
                "key_revocation_seconds",
                "From the command that revoked a caller key to the last moment at which it was accepted here.",
                &[0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 10.0],
            ),
        }
    }
}

/// Puts in force what the register says, if that is not in force yet.
///
/// # Errors
/// When the ledger cannot be read.
pub fn refresh(live: &Live, register: &dyn KeyRegister) -> Result<(), LedgerError> {
    if register.last_event()? != live.keys().0 {
        let (event, keys) = register.keys()?;
        live.set_keys(event, keys);
    }
    Ok(())
}

/// What was done to keys, as far as that was told.
struct Told {
    last: i64,
    counts: Counts,
}

impl Told {
    /// Tells of what is new.
    fn tell(&mut self, register: &dyn KeyRegister, clock: Clock) -> Result<(), LedgerError> {
        loop {
            let events = register.events_after(self.last, EVENTS)?;
            let Some(last) = events.last() else { return Ok(()) };
            self.last = last.seq;
            for KeyEvent { at, key_id, team, kind, by, .. } in &events {
                tracing::info!(key_id, team, by, "a caller key was {kind}");
                if kind == "revoked" {
                    let took = clock.wall().duration_since(*at);
                    self.counts.revocation.observe(took.as_secs_f64().max(0.0));
                }
            }
        }
    }
}

/// Keeps what is in force as the ledger says. Never returns.
pub async fn watch(live: Arc<Live>, settings: Ledger, clock: Clock, counts: Counts) {
    let mut open: Option<Box<dyn KeyRegister>> = None;
    let mut last = live.keys().0;
    let mut failing = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let (live, settings) = (Arc::clone(&live), settings.clone());
        let mut told = Told { last, counts: counts.clone() };
        let looking = tokio::task::spawn_blocking(move || {
            let look = |told: &mut Told| {
                let register = match open {
                    Some(register) => register,
                    None => home::keys(&settings)?,
                };
                refresh(&live, &*register)?;
                told.tell(&*register, clock).map(|()| register)
            };
            (look(&mut told), told.last)
        });
        let looked = match looking.await {
            Ok((looked, seen)) => {
                last = seen;
                looked
            }
            Err(panic) => Err(std::io::Error::other(panic).into()),
        };
        if let Err(error) = &looked
            && !failing
        {
            tracing::error!(%error, "cannot read the ledger's keys: those that were in force stay so, and a revocation is not seen");
        }
        failing = looked.is_err();
        // One that failed is not kept: the file may be another by now.
        open = looked.ok();
    }
}
