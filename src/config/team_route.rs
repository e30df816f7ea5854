//! A route as it stands in a team's `routes`: its name, or a table with what is special about it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::values::{Budget, CreditsText, Leaf};

/// A route that a team may use.
#[derive(Clone, Debug)]
pub(super) enum TeamRoute {
    /// By its name.
    Name(String),
    /// With what is special about it.
    Table(RouteTable),
    /// Neither.
    Wrong,
}

/// What is special about a team's calls of one route.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct RouteTable {
    /// Its name. Required.
    pub(super) name: Leaf<String>,
    /// What the team may spend on it, like { credits = 600, period = "month" }. Default: nothing but the team's own budget.
    pub(super) budget: Option<Budget>,
    /// Jobs that the team may have under way at once, or calls where Mavera bounds calls. Default: as many as Mavera takes.
    pub(super) jobs: Leaf<u32>,
    /// What a call of it holds, if less than the most that it is documented to cost.
    pub(super) reserve: Leaf<CreditsText>,
}

impl<'de> Deserialize<'de> for TeamRoute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entry)
    }
}

struct Entry;

impl<'de> Visitor<'de> for Entry {
    type Value = TeamRoute;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a route, or a table with it")
    }

    fn visit_str<E>(self, name: &str) -> Result<TeamRoute, E> {
        Ok(TeamRoute::Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<TeamRoute, A::Error> {
        RouteTable::deserialize(MapAccessDeserializer::new(members)).map(TeamRoute::Table)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TeamRoute, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(TeamRoute::Wrong)
    }

    fn visit_bool<E>(self, _: bool) -> Result<TeamRoute, E> {
        Ok(TeamRoute::Wrong)
    }

    fn visit_i64<E>(self, _: i64) -> Result<TeamRoute, E> {
        Ok(TeamRoute::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<TeamRoute, E> {
        Ok(TeamRoute::Wrong)
    }
}

impl JsonSchema for TeamRoute {
    fn schema_name() -> Cow<'static, str> {
        "TeamRoute".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RouteTable>();
        json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}
