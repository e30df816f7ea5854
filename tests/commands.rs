//! Commands around the gateway: health, completions, the manual.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::support::process::{Pair, PairSetup, binary};

#[test]
fn a_healthcheck_asks_the_gateway_that_its_configuration_describes() {
    let mut pair = Pair::start(&PairSetup::default());
    // The pair listens on a port that the system chose; a container's configuration names it.
    let config = pair.folder.path().join("health.toml");
    std::fs::write(&config, format!("[admin]\nlisten = \"0.0.0.0:{}\"\n", pair.admin.port())).unwrap();
    let check =
        |more: &[&str]| binary().arg("healthcheck").arg("--config").arg(&config).args(more).output().unwrap();
    for more in [&[] as &[_], &["--ready"]] {
        let healthy = check(more);
        assert!(
            healthy.status.success() && healthy.stdout.is_empty() && healthy.stderr.is_empty(),
            "{healthy:?}"
        );
    }
    // A bad edit, which the running gateway refuses, is no reason to kill it.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}typo = 5\n[[team]]\nname = 7\n")).unwrap();
    assert!(check(&["--ready"]).status.success());
    let address = pair.admin.to_string();
    let elsewhere =
        binary().args(["healthcheck", "--config", "no/such/file.toml", "--address", &address]).status();
    assert!(elsewhere.unwrap().success());
    pair.stop();
    let gone = check(&[]);
    assert_eq!(gone.status.code(), Some(1));
    let said = String::from_utf8(gone.stderr).unwrap();
    assert!(said.contains("is not healthy") && said.contains(&pair.admin.port().to_string()), "{said}");

    let missing = binary().args(["healthcheck", "--config", "no/such/file.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(64));
}

#[test]
fn a_reader_that_stops_reading_ends_a_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), crate::support::CANARY).unwrap();
    let config = folder.path().join("gateway.toml");
    let ledger = folder.path().join("ledger.db");
    std::fs::write(
        &config,
        format!(
            "[upstream]\napi_key = {{ file = '{}' }}\n[ledger]\npath = '{}'\n",
            folder.path().join("key").display(),
            ledger.display()
        ),
    )
    .unwrap();
    let config = config.to_str().unwrap();
    for arguments in [
        &["check", "--config", config][..],
        &["schema"],
        &["man"],
        &["completions", "bash"],
        &["key", "new", "--team", "a"],
        &["--help"],
    ] {
        // It has closed its end before the first byte comes.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = binary().args(arguments).stdout(writer).output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{arguments:?}: {done:?}");
    }
}

#[test]
fn what_a_command_cannot_do_is_said_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.toml");
    std::fs::write(&config, "[upstream]\napi_key = { env = \"NOT_TEXT\" }\n").unwrap();
    let config = config.to_str().unwrap();
    let not_text = <OsStr as OsStrExt>::from_bytes(b"mvra_live_\xff");
    let report = ["credits", "report", "--config", config, "--since", "2026-02-01", "--until", "2026-01-01"];
    for (arguments, expected) in [
        (&["key", "new", "--team", "organisation"][..], "means something else in metrics"),
        (&["key", "new", "--team", "No"], "use 1 to 64 of a-z"),
        (&["key", "new", "--team", "a", "--expires", "90"], "write it like \"90d\" or \"12h\""),
        (&["key", "new", "--team", "a", "--expires", "0s"], "is not a time to come"),
        (&report, "--since 2026-02-01 is after --until 2026-01-01"),
        (&["check", "--config", config], "NOT_TEXT holds bytes that are no text"),
    ] {
        let refused = binary().args(arguments).env("NOT_TEXT", not_text).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains(expected) && refused.stdout.is_empty(), "{arguments:?}: {said}");
    }
}

#[test]
fn shells_and_man_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let help = String::from_utf8(binary().arg("--help").output().unwrap().stdout).unwrap();
    let commands: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 8 && commands.contains(&"serve"), "{help}");

    for shell in ["bash", "zsh", "fish"] {
        let script = binary().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(script.stdout).unwrap();
        for command in &commands {
            assert!(script.contains(command), "{command} is not completed in {shell}");
        }
    }
    // The shell that everybody has takes it.
    let script = folder.path().join("completions");
    std::fs::write(&script, binary().args(["completions", "bash"]).output().unwrap().stdout).unwrap();
    assert!(std::process::Command::new("bash").arg("-n").arg(&script).status().unwrap().success());

    let page = String::from_utf8(binary().arg("man").output().unwrap().stdout).unwrap();
    assert!(page.contains(".TH mavera-gateway 1"), "{page}");
    assert!(binary().arg("man").arg("--out").arg(folder.path()).status().unwrap().success());
    for command in commands.iter().filter(|command| **command != "help") {
        let page = folder.path().join(format!("mavera-gateway-{command}.1"));
        assert!(page.is_file(), "{}", page.display());
    }
}
