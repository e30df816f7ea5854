//! What a proxy's processes have used so far, from the kernel's own accounts.

use std::fs;
use std::time::Duration;

/// CPU time of all threads of a process and of its children so far, as the scheduler counts it.
pub fn cpu(process: u32) -> Result<Duration, String> {
    let mut nanoseconds = 0;
    for process in family(process) {
        let path = format!("/proc/{process}/task");
        for task in fs::read_dir(&path).map_err(|error| format!("{path}: {error}"))?.flatten() {
            let counted = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanoseconds += counted.split(' ').next().and_then(|run| run.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Memory of a process and its children in bytes. A page that several of them share is counted once in all.
pub fn memory(process: u32) -> u64 {
    family(process)
        .into_iter()
        .map(|process| {
            // The gateway forbids others a look into itself. Without root's rights only its resident size can be
            // read, which counts the pages of libc in full: more than its share, never less.
            fs::read_to_string(format!("/proc/{process}/smaps_rollup"))
                .ok()
                .and_then(|text| kibibytes(&text, "Pss:"))
                .or_else(|| kibibytes(&fs::read_to_string(format!("/proc/{process}/status")).ok()?, "VmRSS:"))
                .map_or(0, |kibibytes| kibibytes << 10)
        })
        .sum()
}

fn family(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).chain([process]).collect()
}

/// The figure of a line like `Pss:   1234 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollup_is_read_by_the_names_of_its_lines() {
        let text =
            "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:    2048 kB\nPss:    1024 kB\nPss_Dirty: 9 kB\n";
        assert_eq!(kibibytes(text, "Pss:"), Some(1024));
        assert_eq!(kibibytes(text, "Swap:"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let process = std::process::id();
        assert!(cpu(process).unwrap() > Duration::ZERO);
        assert!(memory(process) > 0);
    }
}
