//! The table of routes. A new one is a row here, and its cases in `tests/routes/`, which fail without them.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::time::Duration;

use http::Method;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::query::Parameter;
use super::row::{Class, Cost, Ids, Learns, Own, Row};
use super::rules;
use super::thing::Thing;
use crate::credits::Credits;
use crate::meter::Figures;

/// Reads say soon what they have to say.
const READ: Duration = Duration::from_secs(30);

/// A read, which is what most routes are.
const PLAIN: Row = Row {
    label: "",
    method: Method::GET,
    template: "",
    class: Class::Upstream,
    query: &[],
    body: None,
    cost: Cost::Free,
    figures: Figures::Usage,
    reserve: Credits::ZERO,
    learns: Learns::Never,
    cap: None,
    first_byte: Some(READ),
    requires_key: false,
    ids: Ids::None,
    makes: None,
};

/// A question that is answered for some credits.
const CHAT: Row = Row {
    method: Method::POST,
    cost: Cost::InAnswer,
    reserve: Credits::whole(5),
    learns: Learns::AsConfigured,
    first_byte: None,
    ..PLAIN
};

/// What is made once, for so much that it is not made twice by mistake.
const DEAR: Row = Row { learns: Learns::Never, requires_key: true, ..CHAT };

const fn at_once(most: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(most)
}

const PAGE: &[Parameter] = &[
    Parameter::word("limit"),
    Parameter::word("offset"),
    Parameter::cursor("cursor"),
    Parameter::word("workspace_id"),
];

/// Every route there is. What is not documented as free, or costs nothing that anybody has seen, is not here; nor is what
/// administers the organisation.
static TABLE: [Row; 30] = [
    // Videos: files, analyses of them, and chats about those.
    Row {
        label: "video_chat",
        template: "/api/v1/video-analyses/{id}/chat",
        body: Some(rules::VIDEO_CHAT),
        ids: Ids::One(Thing::Analysis),
        ..CHAT
    },
    Row {
        label: "video_list",
        template: "/api/v1/video-analyses",
        // Source: `list-video-analyses` in Mavera's API reference.
        query: &[Parameter::word("limit"), Parameter::word("offset"), Parameter::word("status")],
        ids: Ids::All(Thing::Analysis),
        ..PLAIN
    },
    Row {
        label: "video_get",
        template: "/api/v1/video-analyses/{id}",
        figures: Figures::Job,
        ids: Ids::One(Thing::Analysis),
        ..PLAIN
    },
    Row {
        label: "video_analyses",
        template: "/api/v1/video-analyses",
        body: Some(rules::VIDEO_ANALYSIS),
        cost: Cost::Job(Credits::whole(100)..=Credits::whole(500)),
        figures: Figures::Job,
        reserve: Credits::whole(500),
        cap: at_once(3),
        makes: Some(Thing::Analysis),
        ..DEAR
    },
    Row {
        label: "files_upload_url",
        method: Method::POST,
        template: "/api/v1/files/upload-url",
        body: Some(rules::ANYTHING),
        makes: Some(Thing::File),
        ..PLAIN
    },
    Row {
        label: "files_create",
        method: Method::POST,
        template: "/api/v1/files",
        body: Some(rules::ANYTHING),
        makes: Some(Thing::File),
        ..PLAIN
    },
    Row { label: "files_list", template: "/api/v1/files", query: PAGE, ids: Ids::All(Thing::File), ..PLAIN },
    // Answers.
    Row { label: "responses", template: "/api/v1/responses", body: Some(rules::RESPONSE), ..CHAT },
    Row {
        label: "chat_completions",
        template: "/api/v1/chat/completions",
        body: Some(rules::CHAT_COMPLETION),
        ..CHAT
    },
    // Mave, the research agent.
    Row {
        label: "mave_chat",
        template: "/api/v1/mave/chat",
        body: Some(rules::MAVE_CHAT),
        figures: Figures::Opaque,
        reserve: Credits::whole(75),
        learns: Learns::From(Credits::whole(50)),
        cap: at_once(10),
        makes: Some(Thing::Thread),
        ..CHAT
    },
    Row {
        label: "mave_threads",
        template: "/api/v1/mave/threads",
        query: PAGE,
        ids: Ids::All(Thing::Thread),
        ..PLAIN
    },
    Row {
        label: "mave_thread_get",
        template: "/api/v1/mave/threads/{id}",
        ids: Ids::One(Thing::Thread),
        ..PLAIN
    },
    // Personas, and groups of them.
    Row { label: "personas_list", template: "/api/v1/personas", query: PAGE, ..PLAIN },
    Row {
        label: "personas",
        template: "/api/v1/personas",
        body: Some(rules::ANYTHING),
        figures: Figures::Charged,
        reserve: Credits::whole(300),
        ..DEAR
    },
    Row {
        label: "focus_groups",
        template: "/api/v1/focus-groups",
        body: Some(rules::ANYTHING),
        cost: Cost::Job(Credits::whole(50)..=Credits::whole(200)),
        figures: Figures::Job,
        reserve: Credits::whole(200),
        cap: at_once(5),
        makes: Some(Thing::FocusGroup),
        ..DEAR
    },
    Row {
        label: "focus_group_get",
        template: "/api/v1/focus-groups/{id}",
        figures: Figures::Job,
        ids: Ids::One(Thing::FocusGroup),
        ..PLAIN
    },
    // Content from templates.
    Row {
        label: "generations",
        template: "/api/v1/generations",
        body: Some(rules::GENERATION),
        figures: Figures::Opaque,
        reserve: Credits::whole(30),
        learns: Learns::Never,
        ..CHAT
    },
    Row {
        label: "generations_list",
        template: "/api/v1/generations",
        query: PAGE,
        ids: Ids::All(Thing::Generation),
        ..PLAIN
    },
    Row { label: "generation_apps", template: "/api/v1/generation-apps", query: PAGE, ..PLAIN },
    Row {
        label: "brand_voices",
        template: "/api/v1/brand-voices",
        body: Some(rules::ANYTHING),
        cost: Cost::Fixed(Credits::whole(50)),
        reserve: Credits::whole(50),
        ..DEAR
    },
    Row { label: "brand_voices_list", template: "/api/v1/brand-voices", query: PAGE, ..PLAIN },
    Row { label: "brand_voice_get", template: "/api/v1/brand-voices/{id}", ..PLAIN },
    // News.
    Row {
        label: "news_trending",
        template: "/api/v1/news/stories/trending",
        query: &[Parameter::word("size"), Parameter::word("limit"), Parameter::cursor("cursor")],
        ..PLAIN
    },
    Row {
        label: "news_personalized",
        template: "/api/v1/news/stories/personalized",
        query: &[Parameter::words("persona_ids"), Parameter::word("size")],
        ..PLAIN
    },
    Row { label: "news_get", template: "/api/v1/news/stories/{id}", ..PLAIN },
    Row {
        label: "news_analyze",
        template: "/api/v1/news/stories/{id}/analyze",
        body: Some(rules::ANYTHING),
        reserve: Credits::whole(20),
        learns: Learns::Never,
        ..CHAT
    },
    Row {
        label: "news_chat",
        template: "/api/v1/news/stories/{id}/chat",
        body: Some(rules::NEWS_CHAT),
        ..CHAT
    },
    // What is answered here.
    Row { label: "me", template: "/gateway/v1/me", class: Class::Own(Own::Me), ..PLAIN },
    Row {
        label: "explain",
        method: Method::POST,
        template: "/gateway/v1/explain",
        class: Class::Own(Own::Explain),
        query: &[Parameter::word("route")],
        ..PLAIN
    },
    Row {
        label: "key_rotate",
        method: Method::POST,
        template: "/gateway/v1/keys/rotate",
        class: Class::Own(Own::RotateKey),
        ..PLAIN
    },
];

/// A route: its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route(u8);

/// By its name: numbers are another release's.
impl Serialize for Route {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.label())
    }
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = Cow::<'_, str>::deserialize(from)?;
        Self::named(&name).ok_or_else(|| D::Error::custom(format_args!("there is no route {name}")))
    }
}

impl Route {
    /// How many there are.
    pub const COUNT: usize = TABLE.len();

    /// All of them, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the table has far fewer rows")]
        (0..Self::COUNT).map(|at| Self(at as u8))
    }

    /// The route of that name.
    #[must_use]
    pub fn named(label: &str) -> Option<Self> {
        Self::all().find(|route| route.label() == label)
    }

    /// What is known of it.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &TABLE[usize::from(self.0)]
    }

    /// Its place in the table.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Name in metrics, logs and the ledger.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.row().label
    }

    /// The route that `explain` is about unless it is asked about another, and whose reserve is exported: the chat about a
    /// video.
    #[must_use]
    pub fn explained() -> Self {
        Self(0)
    }
}

/// Some of the routes that go to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routes(u64);

const _: () = assert!(TABLE.len() <= 64, "a route is a bit");

impl Routes {
    /// None.
    pub const NONE: Self = Self(0);

    /// What a team may use unless it says otherwise: the chat about a video, and what it takes to find one.
    #[must_use]
    pub fn usual() -> Self {
        ["video_chat", "video_list", "video_get"]
            .into_iter()
            .filter_map(Route::named)
            .fold(Self::NONE, Self::with)
    }

    /// What `"*"` stands for: all but what is dear enough to be named.
    #[must_use]
    pub fn everyday() -> Self {
        let everyday = Route::all().filter(|route| route.row().is_upstream() && route.row().is_everyday());
        everyday.fold(Self::NONE, Self::with)
    }

    /// These and another.
    #[must_use]
    pub fn with(self, route: Route) -> Self {
        Self(self.0 | 1 << route.0)
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether a route may be used: those that the gateway answers itself always.
    #[must_use]
    pub fn allow(self, route: Route) -> bool {
        !route.row().is_upstream() || self.0 & 1 << route.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart_by_name_and_by_method_and_path() {
        let rows: Vec<_> = Route::all().map(Route::row).collect();
        for (at, row) in rows.iter().enumerate() {
            for other in &rows[..at] {
                assert_ne!(row.label, other.label);
                assert_ne!((&row.method, row.template), (&other.method, other.template));
            }
            assert_eq!(row.costs(), row.reserve > Credits::ZERO, "{}: what costs is held", row.label);
            assert!(row.template.contains("{id}") || !matches!(row.ids, Ids::One(_)), "{}", row.label);
        }
        assert_eq!(Route::named(Route::explained().label()), Some(Route::explained()));
        assert_eq!(Route::named("other"), None);
    }
}
