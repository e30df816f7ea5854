//! The pass over the file: values one by one, each with its default and its bounds, and every problem kept.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::config::file;
use crate::config::problem::Collector;
use crate::config::values::{Budget as BudgetTable, DurationText, Leaf, SizeText, TimestampText};
use crate::credits::budget::Budget;
use crate::credits::period::Period;
use crate::secret::SecretSource;

const SECRET: &str =
    "write { env = \"NAME\" } or { file = \"PATH\" }; the secret itself never stands in this file";

/// Walks through a file.
pub(super) struct Validator<'c, 'a> {
    pub(super) problems: &'c mut Collector<'a>,
    /// What relative paths are relative to.
    pub(super) folder: &'c Path,
}

impl Validator<'_, '_> {
    /// A value with a default. A wrong value is reported and the default goes on in its place, so
    /// that the rest can be checked too; the configuration is refused in the end.
    pub(super) fn value<T>(&mut self, key: &str, leaf: Leaf<T>, default: T, remedy: &str) -> T {
        match leaf.0 {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(message)) => {
                self.problems.add(key, message, remedy);
                default
            }
        }
    }

    pub(super) fn required<T: Default>(&mut self, key: &str, leaf: Leaf<T>, remedy: &str) -> T {
        if leaf.0.is_none() {
            self.problems.add(key, "is required", remedy);
        }
        self.value(key, leaf, T::default(), remedy)
    }

    /// A path that must be given.
    pub(super) fn path(&mut self, key: &str, leaf: Leaf<PathBuf>, remedy: &str) -> PathBuf {
        let path = self.required(key, leaf, remedy);
        self.folder.join(path)
    }

    /// A path with a default.
    pub(super) fn path_or(&mut self, key: &str, leaf: Leaf<PathBuf>, default: &str) -> PathBuf {
        let path = self.value(key, leaf, default.into(), "");
        self.folder.join(path)
    }

    /// A path, or none.
    pub(super) fn path_if_any(&mut self, key: &str, leaf: Leaf<PathBuf>) -> Option<PathBuf> {
        leaf.0.as_ref()?;
        Some(self.path(key, leaf, "write the path of a file"))
    }

    pub(super) fn number<N>(&mut self, key: &str, leaf: Leaf<N>, default: N, range: RangeInclusive<N>) -> N
    where
        N: PartialOrd + Display + Copy,
    {
        let value = self.value(key, leaf, default, "");
        if range.contains(&value) {
            return value;
        }
        let (low, high) = range.into_inner();
        self.problems.add(key, format!("{value} is out of range"), format!("use {low} to {high}"));
        default
    }

    pub(super) fn positive(&mut self, key: &str, leaf: Leaf<u32>, default: u32) -> NonZeroU32 {
        let value = self.number(key, leaf, default, 1..=100_000_000);
        NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN)
    }

    pub(super) fn size(
        &mut self,
        key: &str,
        leaf: Leaf<SizeText>,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        let leaf = Leaf(leaf.0.map(|value| value.map(|size| size.0)));
        let value = self.value(key, leaf, default, "write it like \"64KiB\" or \"1MiB\"");
        if range.contains(&value) {
            return value;
        }
        let [low, high] = [range.start(), range.end()]
            .map(|&size| bytesize::ByteSize(size as u64).display().iec().to_string());
        self.problems.add(key, "size is out of range", format!("use {low} to {high}"));
        default
    }

    /// `default` and `range` are whole seconds.
    pub(super) fn duration(
        &mut self,
        key: &str,
        leaf: Leaf<DurationText>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        let default = Duration::from_secs(default);
        let value = self.value(key, leaf, DurationText(default), "write it like \"30s\" or \"2m\"").0;
        let [low, high] = [range.start(), range.end()].map(|&seconds| Duration::from_secs(seconds));
        if (low..=high).contains(&value) {
            return value;
        }
        let [low, high] = [low, high].map(DurationText);
        self.problems.add(
            key,
            format!("{} is out of range", DurationText(value)),
            format!("use {low} to {high}"),
        );
        default
    }

    pub(super) fn budget(&mut self, key: &str, budget: Option<BudgetTable>) -> Option<Budget> {
        let budget = budget?;
        let remedy = "write it like { credits = 1500, period = \"month\" }";
        if budget.period.0.is_none() {
            self.problems.add(&format!("{key}.period"), "is required", remedy);
        }
        let credits = self.required(&format!("{key}.credits"), budget.credits, remedy).0;
        let period = self.value(&format!("{key}.period"), budget.period, Period::Month, remedy);
        Some(Budget { credits, period })
    }

    /// A moment, or none.
    pub(super) fn moment(&mut self, key: &str, leaf: Leaf<TimestampText>) -> Option<Timestamp> {
        match leaf.0? {
            Ok(TimestampText(at)) => Some(at),
            Err(message) => {
                self.problems.add(key, message, "");
                None
            }
        }
    }

    /// `variable` is where a secret is looked for that the file does not place.
    pub(super) fn secret(&mut self, key: &str, secret: Leaf<file::Secret>, variable: &str) -> SecretSource {
        // What stands here may be the secret itself, put in the wrong place: nothing of it is quoted.
        let secret =
            Leaf(secret.0.map(|read| read.map_err(|_| "is not a place to read a secret from".to_owned())));
        match self.value(key, secret, file::Secret::Env(variable.to_owned()), SECRET) {
            file::Secret::Env(name) if is_variable(&name) => SecretSource::Env(name),
            file::Secret::Env(_) => {
                self.problems.add(key, "does not name an environment variable", SECRET);
                SecretSource::Env(variable.to_owned())
            }
            file::Secret::File(path) => SecretSource::File(self.folder.join(path)),
        }
    }
}

/// Whether a shell would take it for a variable's name. Upper case, as such names are: a key or a token is not.
fn is_variable(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
