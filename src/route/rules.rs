//! The documented rules of bodies, and no more: everything else is the upstream's to judge (sources: the pages of Mavera's API
//! reference that each names).

use super::rule::{Kind, Rule};
use super::thing::Thing;

/// Asks for an event stream.
const STREAM: Rule = Rule::optional("stream", Kind::Flag);
/// The one model there is.
const MODEL: Kind = Kind::Word("mavera-1");

const fn messages(most: usize) -> Kind {
    Kind::List { most, one: "message", many: "messages", shorten: "leave out the oldest" }
}

/// `chat-about-video-analysis`.
pub(super) const VIDEO_CHAT: &[Rule] = &[
    Rule::required("messages", messages(50)),
    Rule::optional("messages[]", Kind::Object { with: "a `role`" }),
    Rule::required("messages[].role", Kind::Text),
    Rule::optional("messages[].content", Kind::Any),
    STREAM,
];

/// `create-a-video-analysis`; the guides have `asset_id` in place of `video_url`, and an intent in words of one's own.
pub(super) const VIDEO_ANALYSIS: &[Rule] = &[
    Rule::or("video_url", "asset_id", Kind::Text),
    Rule::optional("asset_id", Kind::Id(Thing::File)),
    Rule::required("title", Kind::Bounded { least: 3, most: 100 }),
    Rule::required("brand", Kind::Bounded { least: 2, most: 100 }),
    Rule::required("product", Kind::Bounded { least: 2, most: 100 }),
    Rule::required("primary_intent", Kind::Text),
    Rule::required("goal", Kind::Bounded { least: 10, most: 500 }),
];

/// `create-a-response`.
pub(super) const RESPONSE: &[Rule] =
    &[Rule::required("model", MODEL), Rule::required("input", Kind::TextOrItems { most: 100_000 }), STREAM];

/// `create-a-chat-completion`.
pub(super) const CHAT_COMPLETION: &[Rule] =
    &[Rule::optional("model", MODEL), Rule::required("messages", messages(128)), STREAM];

/// `send-message-to-mave`.
pub(super) const MAVE_CHAT: &[Rule] =
    &[Rule::required("message", Kind::Text), Rule::optional("thread_id", Kind::Id(Thing::Thread)), STREAM];

/// `generate-content`.
pub(super) const GENERATION: &[Rule] =
    &[Rule::required("app_id", Kind::Text), Rule::required("input_data", Kind::Any), STREAM];

/// The chat about a story of the news.
pub(super) const NEWS_CHAT: &[Rule] = &[Rule::required("message", Kind::Bounded { least: 0, most: 2000 })];

/// A JSON object, whatever is in it.
pub(super) const ANYTHING: &[Rule] = &[];
