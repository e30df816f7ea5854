//! Endings that wait for the database, on this machine's disk: so that a gateway that ends meanwhile leaves what it knew to the
//! next one in its place.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::books::shared::queue::{KeptEnding, Pending, Queue};
use crate::ledger::entry::{EndEntry, Kind};
use crate::ledger::{CallId, Correction};

/// In front of everything, and the version.
const MAGIC: [u8; 8] = *b"mvgwob\0\x01";

/// The ending of a call that was given up as lost: what it truly came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LateEnding {
    pub(super) call: CallId,
    credits: i64,
    at: i64,
    /// Nobody knows what it cost: then it stays booked as it is.
    is_doubt: bool,
    why: String,
}

impl LateEnding {
    pub(super) fn of(end: &EndEntry<'_>) -> Self {
        Self {
            call: end.call,
            credits: end.credits,
            at: end.at,
            is_doubt: end.kind == Kind::Estimated,
            why: format!("ended after its gateway was given up as lost: {}", end.outcome),
        }
    }

    /// What it is, of a call that is booked at so much.
    pub(super) fn correction(self, booked: i64) -> Correction {
        let Self { call, credits, at, is_doubt, why } = self;
        let difference = if is_doubt { 0 } else { credits - booked };
        Correction { call, at, difference, doubt: if is_doubt { 0 } else { booked }, why }
    }

    /// Whether it says more than is booked.
    pub(super) fn says_anything(&self) -> bool {
        !self.is_doubt
    }
}

/// A file that an earlier process has left, and the endings in it.
pub(super) type Left = (PathBuf, Vec<KeptEnding>);

/// The folder, and this process's file in it.
#[derive(Debug)]
pub(super) struct Outbox {
    folder: PathBuf,
    file: PathBuf,
    /// The calls whose endings are in the file.
    kept: Vec<CallId>,
}

impl Outbox {
    /// The outbox in a folder, which is made, of a gateway by its number; and what earlier ones have left there.
    pub(super) fn open(folder: &Path, gateway: u32) -> io::Result<(Self, Vec<Left>)> {
        fs::create_dir_all(folder)?;
        let mut left = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "outbox") {
                match read(&fs::read(&path)?) {
                    Some(endings) => left.push((path, endings)),
                    None => {
                        tracing::error!(file = %path.display(), "a file of endings that waited for the database is damaged, and is left as it is");
                    }
                }
            }
        }
        let file = folder.join(format!("{gateway}.outbox"));
        Ok((Self { folder: folder.to_owned(), file, kept: Vec::new() }, left))
    }

    /// Writes down what waits, behind what nobody knows of whether it is booked; if it is another than before.
    pub(super) async fn keep(&mut self, queue: &Queue, mut endings: Vec<KeptEnding>) {
        endings.extend(queue.look(|pending| endings_of(pending.iter())));
        let calls: Vec<_> = endings.iter().map(|kept| kept.ended.call).collect();
        if calls == self.kept {
            return;
        }
        let (folder, file) = (self.folder.clone(), self.file.clone());
        let written = tokio::task::spawn_blocking(move || write(&folder, &file, &endings)).await;
        match written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(()) => self.kept = calls,
            Err(error) => {
                tracing::error!(%error, file = %self.file.display(), "endings that wait for the database cannot be kept on disk");
            }
        }
    }

    /// Takes the file away, once nothing of it waits.
    pub(super) fn clear_if(&mut self, queue: &Queue) {
        if !self.kept.is_empty() && queue.look(|pending| endings_of(pending.iter()).is_empty()) {
            self.kept.clear();
            take_away(&self.file);
        }
    }
}

/// Takes a file away, of which nothing waits any more.
pub(super) fn take_away(file: &Path) {
    if let Err(error) = fs::remove_file(file) {
        tracing::warn!(%error, file = %file.display(), "cannot remove a file of endings that are booked");
    }
}

/// Endings among what waits.
pub(super) fn endings_of<'p>(pending: impl Iterator<Item = &'p Pending>) -> Vec<KeptEnding> {
    let kept = pending.filter_map(|pending| match pending {
        Pending::Ending(group) => Some(group.kept()),
        Pending::Kept(ending) => Some((**ending).clone()),
        _ => None,
    });
    kept.collect()
}

fn write(folder: &Path, file: &Path, endings: &[KeptEnding]) -> io::Result<()> {
    let body = postcard::to_stdvec(endings).map_err(io::Error::other)?;
    let partial = file.with_extension("partial");
    let mut out = fs::File::create(&partial)?;
    out.write_all(&MAGIC)?;
    out.write_all(&crc32fast::hash(&body).to_le_bytes())?;
    out.write_all(&body)?;
    out.sync_all()?;
    fs::rename(&partial, file)?;
    fs::File::open(folder)?.sync_all()
}

fn read(bytes: &[u8]) -> Option<Vec<KeptEnding>> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (sum, body) = rest.split_at_checked(4)?;
    (crc32fast::hash(body).to_le_bytes() == *sum).then(|| postcard::from_bytes(body).ok()).flatten()
}
