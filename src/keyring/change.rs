//! Changing keys in a gateway that runs: on a thread that may wait for the disk, and in force here at once.

use std::io;
use std::sync::Arc;

use super::watch::refresh;
use super::{KeyError, Keyring};
use crate::clock::Clock;
use crate::ledger::{Hand, home};
use crate::live::Live;

/// Does something to keys by the configuration that is in force, and puts it in force here. Where that fails, it is seen a
/// moment later: it has been made.
///
/// # Errors
/// Why nothing was done.
pub async fn change<T: Send + 'static>(
    live: &Arc<Live>,
    clock: Clock,
    by: String,
    work: impl FnOnce(&mut Keyring<'_>) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, KeyError> {
    let live = Arc::clone(live);
    let done = tokio::task::spawn_blocking(move || {
        let snapshot = live.current();
        let config = &snapshot.config;
        let hand = Hand { by: &by, at: clock.wall() };
        let mut keyring = Keyring::new(config, home::keys(&config.ledger)?, hand);
        let done = work(&mut keyring)?;
        if let Err(error) = refresh(&live, &*keyring.register) {
            tracing::warn!(%error, "a change of caller keys is not in force here yet");
        }
        Ok(done)
    });
    done.await.unwrap_or_else(|panic| Err(KeyError::Ledger(io::Error::other(panic).into())))
}
