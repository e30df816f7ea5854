//! Files: where to put one, and the ones that were said to be there. Their bytes never come here.

use serde_json::{Value, json};

use super::ask::Ask;
use super::list;
use super::said::Said;
use crate::Simulator;

/// Seconds for which a place to put a file is valid (files guide).
const EXPIRES_IN: u64 = 3600;

impl Simulator {
    pub(super) fn upload_url(&self, ask: &Ask<'_>) -> Said {
        let id = self.state().next_id("cfile");
        let content_type = ask.member("content_type").and_then(Value::as_str).unwrap_or("video/mp4");
        let document = json!({
            "upload_url": format!("https://storage.example/{id}?signature=simulated"),
            "headers": {"content-type": content_type},
            "file_id": id,
            "expires_in": EXPIRES_IN,
        });
        Said::Free(200, document)
    }

    /// A file has the id that its upload was given, or a new one.
    pub(super) fn create_file(&self, ask: &Ask<'_>) -> Said {
        let created = format!("{:.3}", self.now());
        let mut state = self.state();
        let given = ask.member("file_id").and_then(Value::as_str).map(str::to_owned);
        let id = given.unwrap_or_else(|| state.next_id("cfile"));
        let name = ask.member("name").or_else(|| ask.member("filename"));
        let file = json!({"id": id, "object": "file", "name": name, "created_at": created});
        state.files.push(file.clone());
        Said::Free(201, file)
    }

    pub(super) fn files(&self, ask: &Ask<'_>) -> Said {
        Said::Free(200, list::by_cursor(ask, &self.state().files))
    }
}
