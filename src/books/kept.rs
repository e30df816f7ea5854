//! What all gateways have in common, as it is written down for those that start.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::calls::Calls;
use super::job::Jobs;
use crate::desk::Desk;
use crate::ledger::CallId;
use crate::ledger::turns::FORM;

/// A desk, and what is open, for gateways that start.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    pub(super) desk: Desk,
    pub(super) calls: Calls,
    pub(super) jobs: Jobs,
    pub(super) next_call: CallId,
    pub(super) last_change: i64,
}

/// The same, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Keeping<'a> {
    pub(super) desk: &'a Desk,
    pub(super) calls: &'a Calls,
    pub(super) jobs: &'a Jobs,
    pub(super) next_call: CallId,
    pub(super) last_change: i64,
}

impl Keeping<'_> {
    pub(super) fn write(&self) -> Vec<u8> {
        written(self)
    }
}

impl Kept {
    /// Nothing where it is of a form that this program does not know.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        read(bytes)
    }
}

/// What gateways write down for each other: its form in front.
pub(super) fn written(what: &impl Serialize) -> Vec<u8> {
    // Into memory, and of plain numbers and text: this cannot fail.
    postcard::to_stdvec(&(FORM, what)).unwrap_or_default()
}

/// Nothing where it is of another form.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (form, rest) = postcard::take_from_bytes::<u32>(bytes).ok()?;
    (form == FORM).then(|| postcard::from_bytes(rest).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;

    #[test]
    fn what_is_of_another_form_is_not_read() {
        let bytes = written(&7u64);
        assert_eq!(read::<u64>(&bytes), Some(7));
        let mut other = bytes;
        other[0] += 1;
        assert_eq!(read::<u64>(&other), None);
    }

    /// Desks keep routes by their numbers: a table in another order is another form of what gateways say to each other.
    #[test]
    fn the_numbers_of_routes_belong_to_the_form() {
        let labels: Vec<_> = Route::all().map(Route::label).collect();
        assert_eq!((FORM, labels.join(" ").as_str()), (1, ROUTES));
    }

    const ROUTES: &str = "video_chat video_list video_get video_analyses files_upload_url files_create files_list responses \
        chat_completions mave_chat mave_threads mave_thread_get personas_list personas focus_groups focus_group_get \
        generations generations_list generation_apps brand_voices brand_voices_list brand_voice_get news_trending \
        news_personalized news_get news_analyze news_chat me explain key_rotate";
}
