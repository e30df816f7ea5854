//! The credits page in a real browser, driven line by line through `tests/browser/page.mjs`.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::process::PATIENCE;

/// A browser with the page open.
pub struct Page {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Where screenshots go: for people to look at, and out of the repository.
pub fn screenshots() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Page {
    pub fn open(admin: SocketAddr) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
        assert!(
            folder.join("node_modules/installed").exists(),
            "Playwright is missing: run `make test`, which installs it"
        );
        let settings = json!({ "url": format!("http://{admin}/"), "screenshots": screenshots() });
        let mut child = Command::new("node")
            .arg(folder.join("page.mjs"))
            .arg("drive")
            .env("PAGE_TEST", settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut page = Self { child, input, output };
        assert_eq!(page.line(), json!({ "event": "ready" }));
        page
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Gives a command, with its settings, and returns what came of it.
    pub fn does(&mut self, command: &str, mut settings: Value) -> Value {
        settings["do"] = command.into();
        writeln!(self.input.as_mut().unwrap(), "{settings}").unwrap();
        let mut answer = self.line();
        assert!(answer.get("failed").is_none(), "{command}: {}", answer["failed"]);
        answer["result"].take()
    }

    /// Waits until the page shows this, and returns everything it shows then.
    pub fn shows(&mut self, until: &Value) -> Value {
        self.does("wait", json!({ "until": until, "timeout": PATIENCE.as_millis() as u64 }))
    }

    pub fn presses(&mut self, name: &str) {
        self.does("press", json!({ "name": name }));
    }

    /// Nothing was said that should not be, and nobody asked but the gateway. `unreachable` if it was meanwhile.
    pub fn stayed_clean(&mut self, admin: SocketAddr, excused: &[&str]) {
        let heard = self.does("console", json!({}));
        assert_eq!(heard["errors"], json!([]));
        for message in heard["messages"].as_array().unwrap() {
            let text = message["text"].as_str().unwrap();
            assert!(excused.iter().any(|excuse| text.contains(excuse)), "the console says {message}");
        }
        let origins: Vec<_> = heard["origins"].as_object().unwrap().keys().collect();
        assert_eq!(origins, [&format!("http://{admin}")]);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The end of its input ends the driver, and with it the browser.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
