//! The files that a configuration names, and what they were when they were read.

use std::fs;
use std::path::{Path, PathBuf};

use super::snapshot::{Fingerprint, fingerprint};
use crate::config::identity::{Identity, KeysFrom, Proves};
use crate::config::problem::{Problems, whole_file};
use crate::config::{self, Config, Parsed};
use crate::secret::SecretSource;

/// The files that the latest configuration names, in force or refused, as they were before it was read.
pub(super) struct Seen {
    pub(super) files: Vec<PathBuf>,
    pub(super) fingerprint: Fingerprint,
}

impl Seen {
    /// The configuration alone: what it names is not known yet.
    pub(super) fn of(path: &Path) -> Self {
        Self { files: vec![path.to_owned()], fingerprint: fingerprint([path]) }
    }

    /// Reads the configuration, once: it may be a pipe, and half of one that is being written must not be taken for another
    /// that is whole. Each file is noted as it is before it is read: what changes meanwhile is the next change.
    pub(super) fn read(&mut self, path: &Path) -> Result<String, Problems> {
        self.note(fingerprint([path]));
        fs::read_to_string(path).map_err(|error| {
            whole_file(
                path,
                format!("cannot be read: {error}"),
                "name another file with --config, or start from config/gateway.toml of the distribution",
            )
        })
    }

    /// What the text says, and from now on which files it names.
    pub(super) fn parse<'t>(&mut self, path: &'t Path, text: &'t str) -> Result<Parsed<'t>, Problems> {
        let parsed = config::read(path, text);
        if let Ok(Parsed { config, problems }) = &parsed
            && problems.is_empty()
        {
            self.files = files_of(config, path);
        }
        let before = self.fingerprint.drain(..1).collect();
        self.note(before);
        parsed
    }

    /// Notes all files as they are, but for the configuration itself. Those that are not there yet are noted as well: their
    /// coming is a change.
    fn note(&mut self, configuration: Fingerprint) {
        let others = self.files.iter().skip(1).map(PathBuf::as_path);
        self.fingerprint = configuration;
        self.fingerprint.extend(fingerprint(others));
    }
}

fn files_of(config: &Config, path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    let admin = &config.admin;
    let secrets = [Some(&config.upstream.api_key), admin.token.as_ref(), admin.keys_token.as_ref()];
    files.extend(secrets.into_iter().flatten().filter_map(SecretSource::file).map(Path::to_owned));
    files.extend(config.upstream.ca_file.clone());
    if let Some(notify) = &config.notify {
        let secrets = [Some(&notify.webhook), notify.secret.as_ref()];
        files.extend(secrets.into_iter().flatten().filter_map(SecretSource::file).map(Path::to_owned));
        files.extend(notify.ca_file.clone());
    }
    for tls in [&config.server.tls, &admin.tls].into_iter().flatten() {
        files.extend([tls.cert.clone(), tls.key.clone()]);
    }
    for Identity { proves, .. } in &config.identities {
        match proves {
            Proves::Tokens(tokens) => {
                files.extend(tokens.ca_file.clone());
                if let KeysFrom::File(path) = &tokens.keys {
                    files.push(path.clone());
                }
            }
            Proves::Certificates(of) => {
                files.push(of.ca_file.clone());
                files.extend(of.crl_file.clone());
            }
        }
    }
    files
}
