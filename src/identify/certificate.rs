//! Whose certificate is this? It was verified when its connection began; whether it still is, is asked for every request, and
//! what was found is remembered for a second.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::UnixTime;

use crate::identity::Certificate;
use crate::live::Snapshot;
use crate::live::directory::Caller;
use crate::live::members::{Found, Says};

/// How long it is taken for what it was found to be: it may expire.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(1);

/// Who a certificate is of, perhaps nobody; nothing where no authority vouches for it, or not any more. Where it is all that is
/// shown, and of nobody, the log is told its names: once in the time that it is remembered.
pub(super) fn find(
    snapshot: &Snapshot,
    certificate: &Certificate,
    is_all: bool,
    now: Timestamp,
) -> Option<Arc<Found<Caller>>> {
    let directory = &snapshot.directory;
    if let Some(found) =
        directory.proven_certificates.get(&certificate.digest).filter(|found| now < found.until)
    {
        return Some(found);
    }
    let time = UnixTime::since_unix_epoch(now.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs());
    let vouching = snapshot.identities.authorities().filter(|(_, of)| of.vouches_for(certificate, time));
    let vouching: Vec<_> = vouching.collect();
    let (identity, authority) = *vouching.first()?;
    let names = certificate.names().unwrap_or_default();
    let says = Says::Names(&names);
    let are: Arc<[Caller]> =
        vouching.iter().flat_map(|(identity, _)| directory.members.meant(*identity, says)).cloned().collect();
    if are.is_empty() && is_all {
        let names = names.valid().take(10).map(|name| name.chars().take(200).collect::<String>());
        let names = names.collect::<Vec<_>>().join(" ");
        tracing::warn!(identity = authority.name(), names, "a valid certificate is of nobody here");
    }
    let until = now.saturating_add(REMEMBERED).unwrap_or(now);
    Some(
        directory
            .proven_certificates
            .put(certificate.digest, Found { identity, generation: 0, until, bound_to: None, are }),
    )
}
