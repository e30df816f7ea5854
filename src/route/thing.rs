//! What is made through the gateway and has an id: it belongs to the team that made it.

use serde::{Deserialize, Serialize};

/// What belongs to the team that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Thing {
    /// An analysis of a video.
    Analysis,
    /// A focus group.
    FocusGroup,
    /// A file.
    File,
    /// A conversation with Mave.
    Thread,
    /// What was written from a template.
    Generation,
}

impl Thing {
    /// All of them.
    const ALL: [Self; 5] = [Self::Analysis, Self::FocusGroup, Self::File, Self::Thread, Self::Generation];

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|thing| thing.name() == name)
    }

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Analysis => "analysis",
            Self::FocusGroup => "focus group",
            Self::File => "file",
            Self::Thread => "thread",
            Self::Generation => "generation",
        }
    }

    /// Several of them, in words.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Analysis => "analyses",
            Self::FocusGroup => "focus groups",
            Self::File => "files",
            Self::Thread => "threads",
            Self::Generation => "generations",
        }
    }
}
