//! Amounts as they are written down for programs: a whole number of millionths.

use serde::{Deserialize, Deserializer, Serializer};

use super::Credits;

/// For `#[serde(with = …)]`.
///
/// # Errors
/// What the writer says.
pub fn serialize<S: Serializer>(amount: &Credits, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(amount.millionths())
}

/// See [`serialize`].
///
/// # Errors
/// That it is no number.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Credits, D::Error> {
    u64::deserialize(from).map(Credits::from_millionths)
}

/// The same of one that may not be there.
pub mod option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::credits::Credits;

    /// For `#[serde(with = …)]`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn serialize<S: Serializer>(amount: &Option<Credits>, to: S) -> Result<S::Ok, S::Error> {
        amount.map(Credits::millionths).serialize(to)
    }

    /// See [`serialize`].
    ///
    /// # Errors
    /// That it is no number.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Credits>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Credits::from_millionths))
    }
}
