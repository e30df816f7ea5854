//! The organisation's key leaves the process in one header to one origin, and by no other way.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::support::process::{Pair, PairSetup, Process, binary};

#[test]
fn a_gateway_that_crashes_leaves_no_core() {
    let mut pair = Pair::start(&PairSetup::default());
    pair.stop();
    // Started by a shell that allows cores of any size.
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -c unlimited 2>/dev/null; cd \"$1\" && exec \"$2\" serve --config gateway.toml",
            "sh",
        ])
        .arg(pair.folder.path())
        .arg(binary().get_program());
    let mut gateway = Process::start(&mut command);
    gateway.wait_for_message("serving");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let sizes: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(sizes, ["0", "0"], "soft and hard");
    gateway.signal("ABRT");
    let ended = gateway.wait_for_end();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
    for file in std::fs::read_dir(pair.folder.path()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with("core"), "{name}");
    }
}
