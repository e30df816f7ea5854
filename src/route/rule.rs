//! What bodies must be, as data: which members of a JSON object must be there, of which kind, within which bounds.

use super::thing::Thing;

/// What one member must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where: `stream`, `messages`, each item as `messages[]`, a member of each as `messages[].role`.
    pub(super) path: &'static str,
    /// The path of what it stands in.
    pub(super) parent: &'static str,
    /// Its name there; empty for an item.
    pub(super) step: &'static str,
    pub(super) kind: Kind,
    pub(super) need: Need,
}

/// Whether a member must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It may be absent, or null.
    None,
    /// It must be there.
    Must,
    /// It, or the member of that name beside it, must be there.
    Or(&'static str),
}

impl Rule {
    /// What must be there, of which kind, within which bounds.
    #[must_use]
    pub const fn required(path: &'static str, kind: Kind) -> Self {
        Self::new(path, kind, Need::Must)
    }

    /// What may be there, and then of which kind.
    #[must_use]
    pub const fn optional(path: &'static str, kind: Kind) -> Self {
        Self::new(path, kind, Need::None)
    }

    /// What must be there, unless `other` beside it is.
    #[must_use]
    pub const fn or(path: &'static str, other: &'static str, kind: Kind) -> Self {
        Self::new(path, kind, Need::Or(other))
    }

    const fn new(path: &'static str, kind: Kind, need: Need) -> Self {
        let bytes = path.as_bytes();
        let mut dot = bytes.len();
        while dot > 0 && bytes[dot - 1] != b'.' && bytes[dot - 1] != b'[' {
            dot -= 1;
        }
        let (parent, step) = match dot.checked_sub(1) {
            None => ("", path),
            Some(at) if bytes[at] == b'[' => (path.split_at(at).0, ""),
            Some(at) => (path.split_at(at).0, path.split_at(dot).1),
        };
        Self { path, parent, step, kind, need }
    }

    /// Whether it may be absent, and null with that.
    pub(super) fn may_be_absent(&self) -> bool {
        self.need != Need::Must && !self.step.is_empty()
    }
}

/// Kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whatever it is.
    Any,
    /// True or false.
    Flag,
    /// A string of any length.
    Text,
    /// A string within bounds of length. Characters are counted so that nobody who counts them otherwise (in units of UTF-16,
    /// say) would take what is refused here.
    Bounded {
        /// Characters at the least.
        least: usize,
        /// And at the most.
        most: usize,
    },
    /// This word alone.
    Word(&'static str),
    /// A string within a bound of length, or an array.
    TextOrItems {
        /// Characters of a string at the most.
        most: usize,
    },
    /// The id of something that belongs to a team.
    Id(Thing),
    /// An object.
    Object {
        /// What it has, in words.
        with: &'static str,
    },
    /// An array of one or more.
    List {
        /// Items at the most.
        most: usize,
        /// What an item is.
        one: &'static str,
        /// And several.
        many: &'static str,
        /// How to have fewer.
        shorten: &'static str,
    },
}

impl Kind {
    /// What is said of a value of another kind.
    pub(super) fn wanted(self) -> String {
        match self {
            Self::Any => String::new(),
            Self::Flag => "must be true or false".into(),
            Self::Text | Self::Id(_) => "must be a string".into(),
            Self::Bounded { least: 0, most } => format!("must be a string of {most} characters at the most"),
            Self::Bounded { least, most } => format!("must be a string of {least} to {most} characters"),
            Self::Word(word) => format!("must be \"{word}\""),
            Self::TextOrItems { most } => {
                format!("must be a string of {most} characters at the most, or an array of items")
            }
            Self::Object { with } => format!("must be an object with {with}"),
            Self::List { most, many, .. } => format!("must be an array of 1 to {most} {many}"),
        }
    }

    /// Whether a string is one of this kind.
    pub(super) fn takes(self, text: &str) -> bool {
        match self {
            Self::Text | Self::Id(_) => true,
            Self::Bounded { least, most } => {
                // A string of that many bytes or fewer has no more characters.
                (text.len() <= most || text.chars().count() <= most) && text.encode_utf16().count() >= least
            }
            Self::Word(word) => text == word,
            Self::TextOrItems { most } => text.len() <= most || text.chars().count() <= most,
            Self::Any | Self::Flag | Self::Object { .. } | Self::List { .. } => false,
        }
    }
}
