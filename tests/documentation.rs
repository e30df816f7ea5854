//! The documentation as one book: whatever it links to is there, and the program takes what one is told to type.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::process::binary;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> BTreeMap<PathBuf, String> {
    let folders = [root(), root().join("docs")];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let pages =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// Lines outside of what is typed or printed.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

/// The name that a heading has in links, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().trim().replace(' ', "-")
}

fn anchors(page: &str) -> BTreeSet<String> {
    prose(page)
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// Where the links of a page go.
fn links(page: &str) -> Vec<String> {
    let ends = prose(page)
        .flat_map(|line| line.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or("")));
    let pictures = page
        .split("src=\"")
        .chain(page.split("srcset=\""))
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap_or(""));
    let pictures = pictures.filter(|target| target.starts_with("docs/"));
    ends.chain(pictures).map(str::to_owned).collect()
}

#[test]
fn every_link_within_the_book_leads_to_a_heading_or_a_file_that_is_there() {
    let pages = pages();
    let (mut followed, mut broken) = (0, Vec::new());
    for (page, text) in &pages {
        for link in links(text).into_iter().filter(|link| !link.contains("://")) {
            let (path, heading) =
                link.split_once('#').map_or((link.as_str(), None), |(path, name)| (path, Some(name)));
            let target =
                if path.is_empty() { page.clone() } else { normal(&page.parent().unwrap().join(path)) };
            let is_there = match (pages.get(&target), heading) {
                (Some(text), Some(heading)) => anchors(text).contains(heading),
                (_, None) => target.exists(),
                (None, Some(_)) => false,
            };
            followed += 1;
            if !is_there {
                broken.push(format!("{}: {link}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 200, "{followed}");
}

/// What one is told to type, line by line: in blocks for a shell, and in the midst of a sentence.
fn typed(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(""));
    let lines =
        blocks.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>());
    let prose = prose(page).collect::<Vec<_>>().join(" ");
    let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned);
    lines.chain(spans).collect()
}

/// The words of each command of a line; none of one that no shell could read.
fn commands(line: &str) -> Vec<Vec<String>> {
    // The one thing that is ever computed is a day.
    let mut parts = line.split("$(");
    let before = parts.next().unwrap_or("").to_owned();
    let line = parts.fold(before, |line, part| {
        line + "2026-11-01" + part.split_once(')').map_or("", |(_, behind)| behind)
    });
    // What one has to put in is written in capitals, and is a number now and then.
    let is_to_be_put_in = |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let words = shlex::split(&line).unwrap_or_default().into_iter();
    let words: Vec<_> =
        words.map(|word| if is_to_be_put_in(&word) { "1".to_owned() } else { word }).collect();
    // What a command reads and writes is not among its words.
    words.split(|word| word.starts_with(['|', ';', '&', '<', '>'])).map(<[_]>::to_vec).collect()
}

/// The arguments with which a command calls the program; nothing if it is another.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let mut words = words;
    while let [first, rest @ ..] = words
        && (first == "sudo" || first.contains('='))
    {
        words = match rest {
            [option, _, rest @ ..] if option == "-u" => rest,
            rest => rest,
        };
    }
    let (program, rest) = words.split_first()?;
    match program.as_str() {
        // The function of the book, which names the configuration. Alone, or with a family of commands, it is spoken of.
        "gateway" if rest.len() > 1 || rest.iter().any(|word| word == "check") => {
            Some([rest, &["--config".to_owned(), "$C".to_owned()]].concat())
        }
        "cargo" => {
            let runs = rest.first().is_some_and(|word| word == "run");
            let own = rest.iter().position(|word| word == "--").filter(|_| runs)?;
            Some(rest[own + 1..].to_vec())
        }
        program if Path::new(program).file_name()? == "mavera-gateway" => Some(rest.to_vec()),
        _ => None,
    }
}

#[test]
fn every_command_of_the_book_is_one_that_the_program_takes() {
    let (mut tried, mut refused) = (0, Vec::new());
    for (page, text) in pages() {
        let typed = typed(&text).into_iter().filter(|line| !line.contains("() {") && !line.contains('…'));
        let commands = typed.flat_map(|line| commands(&line));
        for arguments in commands.filter_map(|words| arguments(&words)).filter(|words| !words.is_empty()) {
            // Asked for help behind all else, it reads what stands in front and does nothing.
            let output = binary().args(&arguments).arg("--help").output().unwrap();
            tried += 1;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("").to_owned();
                refused.push(format!("{}: {}: {why}", page.display(), arguments.join(" ")));
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(tried > 100, "{tried}");
}

#[test]
fn the_contents_of_the_book_name_every_chapter() {
    let contents = std::fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in pages().keys() {
        let path = page.strip_prefix(root()).unwrap();
        let link = path
            .strip_prefix("docs")
            .map_or_else(|_| format!("../{}", path.display()), |name| name.display().to_string());
        assert!(link == "README.md" || contents.contains(&format!("]({link})")), "{link}");
    }
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}
