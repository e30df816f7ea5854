//! What is wrong with a configuration: every problem with its place and a way out.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One problem: where, what, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; of the nearest enclosing table for a key that is missing.
    pub line: Option<usize>,
    /// The key, like `team[0].keys[1].sha256`. Empty for a problem of the file as a whole.
    pub key: String,
    /// What is wrong, as a sentence without its full stop.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// All problems of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file as it was named.
    pub file: String,
    /// In the order of lines.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file)?;
            if let Some(line) = problem.line {
                write!(f, "{line}:")?;
            }
            if !problem.key.is_empty() {
                write!(f, " {}:", problem.key)?;
            }
            write!(f, " {}", problem.message)?;
            if !problem.remedy.is_empty() {
                write!(f, "\n    to mend it: {}", problem.remedy)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems and finds their lines.
pub(crate) struct Collector<'a> {
    file: &'a Path,
    text: &'a str,
    document: Spanned<DeTable<'a>>,
    list: Vec<Problem>,
}

impl<'a> Collector<'a> {
    /// Parses `text`; what is not TOML becomes the first problems.
    pub(crate) fn new(file: &'a Path, text: &'a str) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut collector = Self { file, text, document, list: Vec::new() };
        for error in errors {
            collector.add_serde(&error);
        }
        collector
    }

    pub(crate) fn document(&self) -> Spanned<DeTable<'a>> {
        self.document.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a problem of the value at `key`.
    pub(crate) fn add(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let line = self.span(key).map(|span| self.line(span.start));
        let [message, remedy] = [message.into(), remedy.into()].map(|text| shown(&text));
        self.list.push(Problem { line, key: shown(key).replace('\n', "\\n"), message, remedy });
    }

    /// Adds a problem of what the value at `key` names, unless the value itself, or what it stands in, is wrong already: then
    /// something else was looked at.
    pub(crate) fn add_of_named(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let is_around = |known: &Problem| {
            let rest = key.strip_prefix(known.key.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !self.list.iter().any(is_around) {
            self.add(key, message, remedy);
        }
    }

    /// Adds what the TOML reader said.
    pub(crate) fn add_serde(&mut self, error: &toml::de::Error) {
        let line = error.span().map(|span| self.line(span.start));
        self.list.push(Problem {
            line,
            key: String::new(),
            message: shown(error.message()),
            remedy: String::new(),
        });
    }

    pub(crate) fn finish(mut self) -> Result<(), Problems> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.list.sort_by_key(|problem| problem.line);
        Err(Problems { file: self.file.display().to_string(), list: self.list })
    }

    fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        memchr::memchr_iter(b'\n', before).count() + 1
    }

    /// Where the value at `key` is, or the nearest table around it.
    fn span(&self, key: &str) -> Option<Range<usize>> {
        let mut table = self.document.get_ref();
        let mut nearest = None;
        let mut rest = Some(key);
        while let Some(key) = rest {
            // A key in quotes may hold dots and brackets: what is left may be one.
            if let Some((at, _)) = table.get_key_value(key) {
                return Some(at.span());
            }
            let (part, after) = key.split_once('.').map_or((key, None), |(part, after)| (part, Some(after)));
            rest = after;
            let (name, index) = match part.split_once('[') {
                Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
                None => (part, None),
            };
            let Some((at, value)) = table.get_key_value(name) else { break };
            nearest = Some(at.span());
            let value = match (value.get_ref(), index) {
                (DeValue::Array(items), Some(index)) => {
                    let Some(item) = items.get(index) else { break };
                    nearest = Some(item.span());
                    item.get_ref()
                }
                (other, _) => other,
            };
            match value {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        nearest
    }
}

/// The text as it may be shown: on a terminal and in a log, where it must be no command and no line of its own.
fn shown(text: &str) -> String {
    let escape =
        |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    without_keys(text).chars().map(escape).collect()
}

/// The message without the rest of any key in it: people paste keys where they do not belong, and
/// what a reader quotes of a wrong value would end up in a log.
fn without_keys(message: &str) -> String {
    let mut safe = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = ["mvra_", "mvgw_"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let (before, key) = rest.split_at(at + "mvra_".len());
        safe.push_str(before);
        rest = key.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let behind = &key[..key.len() - rest.len()];
        // The prefix alone is said of what is expected, and is nobody's.
        safe.push_str(if matches!(behind, "" | "live_") { behind } else { "…" });
    }
    safe.push_str(rest);
    safe
}

/// A problem that no line of a file is to blame for.
pub(crate) fn whole_file(file: &Path, message: impl Into<String>, remedy: impl Into<String>) -> Problems {
    Problems {
        file: file.display().to_string(),
        list: vec![Problem {
            line: None,
            key: String::new(),
            message: message.into(),
            remedy: remedy.into(),
        }],
    }
}
