//! What is in force at one moment, made from one reading of the configuration and all that it names.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;

use super::directory::Directory;
use super::hook::Hook;
use super::tls;
use crate::clock::Clock;
use crate::config::problem::Problems;
use crate::config::{Config, Parsed};
use crate::identity::{self, Identities};
use crate::ledger::RegisteredKey;
use crate::limit::by_address::BadKeys;
use crate::outbound::origin::{Origin, OriginError};
use crate::record::series::TeamCounts;
use crate::secret::{AdminToken, Pepper, SecretError, SecretSource, UpstreamKey};

/// Everything that was made from one reading of the configuration. A call is served under one
/// snapshot from its first stage to its last.
pub struct Snapshot {
    /// The valid configuration.
    pub config: Config,
    /// Who vouches for callers without a key. Shared with whoever fetches their key sets.
    pub identities: Arc<Identities>,
    /// Who may call.
    pub directory: Directory,
    /// The organisation's key.
    pub key: UpstreamKey,
    /// Opens the credits page, where one is configured.
    pub token: Option<AdminToken>,
    /// Lets its holder change caller keys, where one is configured.
    pub keys_token: Option<AdminToken>,
    /// Seals answers at rest, where they are kept there.
    pub pepper: Option<Pepper>,
    /// Where notifications go, if they do.
    pub hook: Option<Arc<Hook>>,
    /// Where the upstream is. Shared between snapshots that agree on it, and with it the connections.
    pub origin: Arc<Origin>,
    /// Keys that were not valid, by address, whatever the configuration.
    pub bad_keys: BadKeys,
    /// TLS of the callers' listener, where configured.
    pub tls: Option<Arc<ServerConfig>>,
    /// TLS of the operators' listener, where configured.
    pub admin_tls: Option<Arc<ServerConfig>>,
    /// The roots file as it was when `origin` was made.
    roots: Option<Fingerprint>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The files of a configuration as they were: whether any has changed is one comparison.
pub(super) type Fingerprint = Vec<Option<(u64, u64, u64, i64, i64)>>;

/// What a file is right now, symlinks followed: device, inode, size and time of change. A file that
/// was swapped by renaming a symlink, as Kubernetes does with a mounted `ConfigMap`, is another inode.
pub(super) fn fingerprint<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Fingerprint {
    paths
        .into_iter()
        .map(|path| {
            let of = fs::metadata(path).ok()?;
            Some((of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec()))
        })
        .collect()
}

/// What is known beside a configuration when a snapshot is made of it.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    /// Keys that the ledger has a say on.
    pub(super) keys: &'a [RegisteredKey],
    /// What was in force before.
    pub(super) previous: Option<&'a Snapshot>,
    pub(super) clock: Clock,
    /// What credentials are counted in.
    pub(super) identities: &'a identity::Counts,
}

impl Snapshot {
    /// Makes a snapshot of a configuration and all that it names: the key, the certificates, the roots. What is wrong with
    /// either is told at once.
    pub(super) fn of(
        Parsed { config, mut problems }: Parsed<'_>,
        Around { keys, previous, clock, identities: counts }: Around<'_>,
        series: impl Fn(&str) -> Arc<TeamCounts>,
    ) -> Result<Self, Problems> {
        let mut unread = |key: &str, source: &SecretSource, error: SecretError| {
            problems.add_of_named(key, error.to_string(), source.remedy(key));
        };
        let key = UpstreamKey::read(&config.upstream.api_key)
            .map_err(|error| unread("upstream.api_key", &config.upstream.api_key, error));
        let token = config
            .admin
            .token
            .as_ref()
            .map(|source| AdminToken::read(source).map_err(|error| unread("admin.token", source, error)));
        let token = token.transpose();
        let keys_token = config.admin.keys_token.as_ref();
        let keys_token = keys_token.map(|source| {
            AdminToken::read(source).map_err(|error| unread("admin.keys_token", source, error))
        });
        let keys_token = keys_token.transpose();
        let pepper = config.retries.bodies.pepper.as_ref().map(|source| {
            Pepper::read(source).map_err(|error| unread("retries.bodies.pepper", source, error))
        });
        let pepper = pepper.transpose();
        let roots = config.upstream.ca_file.as_deref().map(|file| fingerprint([file]));
        let unchanged = previous.filter(|previous| {
            previous.config.upstream.base_url == config.upstream.base_url
                && previous.config.upstream.ca_file == config.upstream.ca_file
                && previous.config.upstream.proxy == config.upstream.proxy
                && previous.roots == roots
        });
        let origin = match unchanged {
            Some(previous) => Ok(Arc::clone(&previous.origin)),
            None => Origin::new(&config.upstream.base_url, config.upstream.ca_file.as_deref())
                .map(|origin| Arc::new(origin.by(config.upstream.proxy.as_ref())))
                .map_err(|error| {
                    let key = match error {
                        OriginError::Url(_) => "upstream.base_url",
                        OriginError::Roots(_) => "upstream.ca_file",
                    };
                    problems.add_of_named(key, error.to_string(), "");
                }),
        };
        let before = previous.map(|previous| &*previous.identities);
        let identities = Identities::new(&config.identities, before, counts).map(Arc::new).map_err(|found| {
            for (key, message) in found {
                problems.add_of_named(&key, message, "");
            }
        });
        let callers = identities.as_ref().ok().and_then(|identities| identities.client_verifier());
        let tls = config.server.tls.as_ref().map(|files| tls::of_callers(files, callers)).transpose();
        let tls = tls.map_err(|(key, message)| problems.add_of_named(key, message, ""));
        let admin_tls = config.admin.tls.as_ref().map(tls::of_operators).transpose();
        let admin_tls = admin_tls.map_err(|(key, message)| problems.add_of_named(key, message, ""));
        let hook = config.notify.as_ref().map(|notify| {
            Hook::read(notify).map(Arc::new).map_err(|(key, message)| problems.add_of_named(key, message, ""))
        });
        let hook = hook.transpose();
        let told = problems.finish();
        match (hook, key, token, keys_token, pepper, origin, identities, tls, admin_tls, told) {
            (
                Ok(hook),
                Ok(key),
                Ok(token),
                Ok(keys_token),
                Ok(pepper),
                Ok(origin),
                Ok(identities),
                Ok(tls),
                Ok(admin_tls),
                Ok(()),
            ) => {
                let before = previous.map(|previous| &previous.directory);
                let directory = Directory::new(&config, keys, before, clock, series);
                let bad_keys = previous.map(|previous| previous.bad_keys.clone()).unwrap_or_default();
                Ok(Self {
                    config,
                    identities,
                    directory,
                    key,
                    token,
                    keys_token,
                    pepper,
                    hook,
                    origin,
                    bad_keys,
                    tls,
                    admin_tls,
                    roots,
                })
            }
            (.., told) => Err(told.expect_err("whatever failed was added as a problem")),
        }
    }

    /// The same with other keys of the ledger: nothing is read again.
    pub(super) fn with_keys(&self, keys: &[RegisteredKey]) -> Self {
        Self {
            config: self.config.clone(),
            identities: Arc::clone(&self.identities),
            directory: self.directory.with_keys(&self.config, keys),
            key: self.key.clone(),
            token: self.token.clone(),
            keys_token: self.keys_token.clone(),
            pepper: self.pepper.clone(),
            hook: self.hook.clone(),
            origin: Arc::clone(&self.origin),
            bad_keys: self.bad_keys.clone(),
            tls: self.tls.clone(),
            admin_tls: self.admin_tls.clone(),
            roots: self.roots.clone(),
        }
    }
}
