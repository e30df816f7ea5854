//! The order of the house: `lib.rs` lists the modules from the ground up, a module uses only those above it in that list,
//! and no files use each other in a loop, also not within a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where a module is: `["forward", "body", "told"]`; the root is empty.
type Module = Vec<String>;

/// A source file without its comments, strings and tests.
struct Source {
    code: String,
    /// Of a folder: it declares others.
    is_folder: bool,
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every module that is built into the program.
fn modules() -> BTreeMap<Module, Source> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(source_folder(), Vec::new())];
    while let Some((folder, module)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let inner = |name: &str| module.iter().cloned().chain([name.to_owned()]).collect::<Vec<_>>();
            if path.is_dir() {
                folders.push((path, inner(&name)));
            } else if path.extension().is_some_and(|extension| extension == "rs") && name != "main" {
                let code = without_tests(&plain(&std::fs::read_to_string(&path).unwrap()));
                let is_folder = name == "mod" || name == "lib";
                let module = if is_folder { module.clone() } else { inner(&name) };
                found.insert(module, Source { code, is_folder });
            }
        }
    }
    // What no module declares is a test's, which was cut out with its declaration.
    let declared = |module: &Module| {
        module.split_last().is_none_or(|(name, parent)| {
            found.get(parent).is_some_and(|source| children(&source.code).iter().any(|child| child == name))
        })
    };
    let kept: BTreeSet<Module> = found.keys().filter(|module| declared(module)).cloned().collect();
    found.retain(|module, _| kept.contains(module));
    found
}

/// Code without comments, and with every string and character emptied.
fn plain(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (String::new(), 0);
    while at < bytes.len() {
        let rest = &text[at..];
        let raw = rest.trim_start_matches('b');
        let hashes = raw.strip_prefix('r').map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if raw.len() + 1 >= rest.len() && raw.starts_with('r') && raw[1 + hashes..].starts_with('"') {
            let open = rest.len() - raw.len() + 2 + hashes;
            let close = format!("\"{}", "#".repeat(hashes));
            at += open + rest[open..].find(&close).unwrap() + close.len();
            out.push_str("\"\"");
        } else if rest.starts_with('"') {
            let mut end = 1;
            while rest.as_bytes()[end] != b'"' {
                end += if rest.as_bytes()[end] == b'\\' { 2 } else { 1 };
            }
            at += end + 1;
            out.push_str("\"\"");
        } else if rest.starts_with("'\\") {
            at += 3 + rest[3..].find('\'').unwrap() + 1;
        } else if rest.starts_with('\'') && rest.chars().nth(2) == Some('\'') {
            at += rest.chars().take(3).map(char::len_utf8).sum::<usize>();
        } else {
            let next = rest.chars().next().unwrap();
            out.push(next);
            at += next.len_utf8();
        }
    }
    out
}

/// Cuts out what is compiled for tests alone.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(brace), semicolon) if semicolon.is_none_or(|semicolon| brace < semicolon) => {
                let mut depth = 0;
                let closing = rest[brace..].char_indices().find(|(_, c)| {
                    depth += match c {
                        '{' => 1,
                        '}' => -1,
                        _ => 0,
                    };
                    depth == 0
                });
                brace + closing.unwrap().0
            }
            (_, semicolon) => semicolon.unwrap(),
        };
        rest = &rest[end + 1..];
    }
    out + rest
}

/// The modules that one declares, in order.
fn children(code: &str) -> Vec<String> {
    let words: Vec<_> = code.split_whitespace().collect();
    let declared = words.windows(2).filter(|pair| pair[0] == "mod" && pair[1].ends_with(';'));
    declared.map(|pair| pair[1].trim_end_matches(';').to_owned()).collect()
}

/// Names that a module passes on: what, and from which of its children.
fn passed_on(source: &Source) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for line in source.code.split(';') {
        let line = line.trim();
        let Some(tree) = line.strip_prefix("pub use ").or_else(|| line.strip_prefix("pub(crate) use "))
        else {
            continue;
        };
        for path in leaves(tree.strip_prefix("self::").unwrap_or(tree)) {
            if let [child, .., name] = &path[..] {
                names.insert(name.clone(), child.clone());
            }
        }
    }
    names
}

/// The paths that a tree like `a::{self, b::C}` stands for.
fn leaves(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((head, inner)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or(tree);
        return vec![
            name.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
        ];
    };
    let head: Vec<String> =
        head.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let inner = &inner[..inner.rfind('}').unwrap_or(inner.len())];
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(leaves)
        .map(|leaf| head.iter().cloned().chain(leaf.into_iter().filter(|part| part != "self")).collect())
        .collect()
}

/// Every path in a module's code that begins with `crate`, `super` or `self`, from the root.
fn paths(module: &Module, source: &Source) -> Vec<Vec<String>> {
    let code = source.code.split(';').filter(|line| {
        // What is passed on is used by whoever takes it from here.
        !line.trim().starts_with("pub use ") && !line.trim().starts_with("pub(crate) use ")
    });
    let mut found = Vec::new();
    for line in code {
        for root in ["crate::", "super::", "self::"] {
            for (at, _) in line.match_indices(root) {
                let before = line[..at].trim_end();
                let inside = line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
                if inside || before.ends_with("::") || before.ends_with("(in") || before.ends_with('$') {
                    continue;
                }
                let rest = &line[at..];
                let is_use = before.ends_with("use");
                let end = if is_use {
                    rest.len()
                } else {
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len())
                };
                for leaf in leaves(&rest[..end]) {
                    found.push(from_the_root(module, &leaf));
                }
            }
        }
        if source.is_folder {
            for child in children(&source.code) {
                let used = line.match_indices(&format!("{child}::")).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                if used {
                    found.push(module.iter().cloned().chain([child]).collect());
                }
            }
        }
    }
    found
}

fn from_the_root(module: &Module, path: &[String]) -> Vec<String> {
    let mut at: Vec<String> = match path[0].as_str() {
        "crate" => Vec::new(),
        _ => module.clone(),
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            name => at.push(name.to_owned()),
        }
    }
    at
}

/// The module in which a path ends, whoever passes its name on.
fn home(modules: &BTreeMap<Module, Source>, path: &[String]) -> Module {
    let mut module = Vec::new();
    for part in path {
        let next: Module = module.iter().cloned().chain([part.clone()]).collect();
        if modules.contains_key(&next) {
            module = next;
        } else if let Some(child) = passed_on(&modules[&module]).get(part) {
            let child: Module = module.iter().cloned().chain([child.clone()]).collect();
            return if modules.contains_key(&child) {
                home(modules, &[&child[..], std::slice::from_ref(part)].concat())
            } else {
                module
            };
        } else {
            break;
        }
    }
    module
}

/// Which module uses which others.
fn uses(modules: &BTreeMap<Module, Source>) -> BTreeMap<Module, BTreeSet<Module>> {
    let of = |module: &Module, source: &Source| {
        let homes = paths(module, source).into_iter().map(|path| home(modules, &path));
        homes.filter(|home| home != module && !home.is_empty()).collect()
    };
    modules.iter().map(|(module, source)| (module.clone(), of(module, source))).collect()
}

#[test]
fn a_module_uses_only_those_above_it_in_the_list() {
    let modules = modules();
    let order = children(&modules[&Vec::new()].code);
    assert!(order.len() > 20, "{order:?}");
    let floor = |name: &str| order.iter().position(|module| module == name).unwrap();
    let mut wrong = Vec::new();
    for (module, used) in uses(&modules) {
        let Some(top) = module.first() else { continue };
        for other in used {
            if other[0] != *top && floor(&other[0]) > floor(top) {
                wrong.push(format!("{} uses {}, which stands below it", module.join("::"), other.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_loop() {
    let uses = uses(&modules());
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > 300, "the paths are found");
    let mut told = Vec::new();
    for (module, used) in &uses {
        for other in used.iter().filter(|other| leads_to(&uses, other, module)) {
            told.push(format!("{} uses {}, which uses it", module.join("::"), other.join("::")));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// Whether a module uses another, by however many steps.
fn leads_to(uses: &BTreeMap<Module, BTreeSet<Module>>, from: &Module, to: &Module) -> bool {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(module) = left.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            left.extend(uses.get(module).into_iter().flatten());
        }
    }
    false
}

#[test]
fn a_long_file_says_why_in_its_first_lines() {
    let mut folders = vec![source_folder()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let explained = text.lines().take(12).any(|line| line.contains("Long because"));
                let lines = text.lines().count();
                assert!(lines <= 400 || explained, "{} has {lines} lines", path.display());
            }
        }
    }
}

#[test]
fn a_database_shows_in_its_own_folder_alone() {
    for (module, source) in modules() {
        for (database, folder) in [("rusqlite", "file"), ("tokio_postgres", "postgres")] {
            let inside = module.starts_with(&["ledger".to_owned(), folder.to_owned()]);
            assert!(inside || !source.code.contains(database), "{} in {}", database, module.join("::"));
        }
    }
}
