//! The documentation as one book: whatever it links to is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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
