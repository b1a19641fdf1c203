//! The architecture, checked on the source text: who may use whom, where outside libraries stay, no panics, file sizes.
//!
//! Every rule is a pure function of (path, text); the self-tests below show that each can fail.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest file. The aim is 400; a little room saves splitting one for a comment.
const MAX_LINES: usize = 450;

/// The layers of `src/`, lowest first. A module may use its own layer and lower ones.
const LAYERS: [&[&str]; 7] = [
    &["error", "memory", "telemetry", "affordance", "contract", "config", "onnx"],
    &["perceive", "export", "metrics"],
    &["message", "convert", "data", "synth"],
    &["train", "parity"],
    &["robot"],
    &["ros"],
    &["cli", "bin"],
];

/// `error` gathers the error of every stage in one type, and so names them all.
const USES_EVERY_LAYER: [&str; 2] = ["error", "lib"];

/// Crates that stay where they belong: the paths under `src/` that may name each.
const CONFINED: [(&str, &[&str]); 6] = [
    ("r2r", &["ros/"]),
    ("tch", &["train/"]),
    ("mpi", &["train/ranks/world.rs"]),
    ("tokio", &["robot/", "ros/", "bin/"]),
    ("ort", &["perceive/infer"]),
    ("anyhow", &["cli/", "bin/"]),
];

/// What panics. Input is untrusted everywhere, and a robot does not stop for a programming error.
const PANICS: [&str; 9] = [
    ".unwrap()",
    ".expect(",
    "panic!(",
    "todo!(",
    "unimplemented!(",
    "unreachable!(",
    "assert!(",
    "assert_eq!(",
    "assert_ne!(",
];

/// One source file under `src/`.
struct Source {
    /// Relative to `src/`, with slashes.
    path: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                sources.push(Source { path: relative, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// The text with comments, string contents and test code blanked, line by line, so that only code remains.
fn code(text: &str) -> Vec<String> {
    let blanked = blank_comments_and_strings(text);
    let mut lines: Vec<String> = blanked.lines().map(str::to_owned).collect();
    blank_test_code(&mut lines);
    lines
}

fn blank_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = token(rest, first);
        let (token, after) = rest.split_at(length);
        if keep {
            out.push_str(token);
        } else {
            out.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    out
}

/// Length of the token at the start of `rest`, and whether it is code.
fn token(rest: &str, first: char) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (rest.find("*/").map_or(rest.len(), |end| end + 2), false);
    }
    if let Some(hashes) = raw_string_hashes(rest) {
        let close = format!("\"{}", "#".repeat(hashes));
        let open = hashes + 2;
        return (rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len()), false);
    }
    match first {
        '"' => (quoted_length(rest, '"'), false),
        // A character literal, not a lifetime.
        '\'' if rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'') => (quoted_length(rest, '\''), false),
        // A whole word at once, so that the r of `for "` is not taken for a raw string's.
        c if c.is_alphanumeric() || c == '_' => {
            (rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()), true)
        }
        c => (c.len_utf8(), true),
    }
}

fn raw_string_hashes(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|b| *b == b'#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Blanks the item after each `#[cfg(test)]`: up to its `;`, or to the brace that closes it.
fn blank_test_code(lines: &mut [String]) {
    let mut index = 0;
    while index < lines.len() {
        if !lines[index].contains("#[cfg(test)]") {
            index += 1;
            continue;
        }
        let mut depth = 0_usize;
        let mut opened = false;
        while index < lines.len() {
            let line = std::mem::take(&mut lines[index]);
            depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
            opened |= line.contains('{');
            index += 1;
            if (opened && depth == 0) || (!opened && line.trim_end().ends_with(';')) {
                break;
            }
        }
    }
}

/// Is the file wholly test code, by its name? [`test_files_are_compiled_for_tests_only`] keeps such names honest.
fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

fn panics(source: &Source) -> Vec<String> {
    if is_test_file(&source.path) {
        return Vec::new();
    }
    let offends = |line: &str| {
        PANICS.iter().any(|call| {
            line.match_indices(call).any(|(at, _)| {
                // `debug_assert!(` is fine: release builds have none.
                call.starts_with('.') || !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        })
    };
    offenders(source, offends, "may panic")
}

fn confined_crates(source: &Source) -> Vec<String> {
    CONFINED
        .iter()
        .filter(|(_, homes)| !homes.iter().any(|home| source.path.starts_with(home)))
        .flat_map(|(name, homes)| {
            let reason = format!("names {name}, which stays in {}", homes.join(" "));
            offenders(source, |line| names_crate(line, name), &reason)
        })
        .collect()
}

/// `name::`, `use name;`, `use name as`, `extern crate name`: the crate, not a module or variable of that name.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].trim_end();
        let after = &line[at + name.len()..];
        let is_word = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
            && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_use = before.ends_with("use") || before.ends_with("crate") || before.ends_with('{');
        is_word && (after.starts_with("::") || (is_use && after.starts_with([';', ' ', ','])))
    })
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The top-level module a path under `src/` belongs to.
fn module_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

fn layering(source: &Source) -> Vec<String> {
    let own = module_of(&source.path);
    if USES_EVERY_LAYER.contains(&own) {
        return Vec::new();
    }
    let Some(own_layer) = layer_of(own) else {
        return vec![format!("src/{}: module {own} is in no layer of tests/architecture.rs", source.path)];
    };
    // The library's own name means the library in the programs only; in `ros` it is r2r's module of our messages.
    let root = if own == "bin" { "looptrans_ros::" } else { "crate::" };
    used_modules(&code(&source.text).join("\n"), root)
        .into_iter()
        .filter_map(|module| match layer_of(&module) {
            Some(layer) if layer <= own_layer => None,
            _ => Some(format!("src/{}: {own} uses {module}, which is in no lower layer", source.path)),
        })
        .collect()
}

/// The top-level modules that paths from `root` name, groups (`crate::{a, b::c}`) included.
fn used_modules(code: &str, root: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, _) in code.match_indices(root) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let path = &code[at + root.len()..];
        match path.strip_prefix('{') {
            None => modules.push(word(path)),
            Some(group) => modules.extend(group_members(group)),
        }
    }
    modules.sort();
    modules.dedup();
    modules
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// First word of each member of a `use` group, up to its closing brace.
fn group_members(group: &str) -> Vec<String> {
    let mut members = vec![String::new()];
    let mut depth = 0_usize;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            c if depth == 0 => {
                if let Some(member) = members.last_mut() {
                    member.push(c);
                }
            }
            _ => {}
        }
    }
    members.iter().map(|member| word(member.trim())).filter(|member| !member.is_empty()).collect()
}

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    vec![format!("src/{}: {lines} lines, over {MAX_LINES}", source.path)]
}

fn offenders(source: &Source, offends: impl Fn(&str) -> bool, reason: &str) -> Vec<String> {
    code(&source.text)
        .iter()
        .enumerate()
        .filter(|(_, line)| offends(line))
        .map(|(index, line)| format!("src/{}:{}: {reason}: {}", source.path, index + 1, line.trim()))
        .collect()
}

fn check(rule: impl Fn(&Source) -> Vec<String>) {
    let sources = sources();
    assert!(sources.len() > 10, "the scanner finds no source files");
    let found: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "{} offenders:\n{}", found.len(), found.join("\n"));
}

#[test]
fn modules_use_their_own_layer_and_lower_ones_only() {
    check(layering);
}

#[test]
fn outside_libraries_stay_in_their_folder() {
    check(confined_crates);
}

#[test]
fn nothing_panics_outside_of_tests() {
    check(panics);
}

#[test]
fn test_files_are_compiled_for_tests_only() {
    let sources = sources();
    for file in sources.iter().filter(|source| source.path.ends_with("tests.rs")) {
        let (folder, name) = file.path.rsplit_once('/').unwrap();
        let declaration = format!("#[cfg(test)]\nmod {};", name.trim_end_matches(".rs"));
        let declared = sources.iter().any(|other| other.path.starts_with(folder) && other.text.contains(&declaration));
        assert!(declared || folder.ends_with("/tests"), "src/{}: no {declaration:?} in its folder", file.path);
    }
}

#[test]
fn no_file_is_too_long() {
    check(too_long);
}

// --- The scanner itself -------------------------------------------------------------------------------------------

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn the_scanner_sees_panics_in_code_and_not_elsewhere() {
    for bad in [
        "fn f() { x.unwrap(); }",
        "fn f() { x.expect(\"y\"); }",
        "fn f() { panic!(\"y\") }",
        "fn f() { todo!() }",
        "fn f() { assert!(x) }",
        "#[cfg(test)]\nmod tests { fn g() { y.unwrap() } }\nfn f() { x.unwrap(); }",
        "#[cfg(test)]\nmod tests;\nfn f() { x.unwrap(); }",
        "/* a */ fn f<'a>(x: &'a str) -> char { let c = '\"'; x.unwrap() } // \"",
        "let t = r#\"a \" b\"#; x.unwrap();",
    ] {
        assert_eq!(panics(&source("a.rs", bad)).len(), 1, "{bad}");
    }
    for good in [
        "// x.unwrap()",
        "/// x.unwrap()\nfn f() {}",
        "let text = \"x.unwrap() \\\" panic!(\";",
        "let text = r#\"x.unwrap() \" panic!(\"#;",
        "x.unwrap_or(1); debug_assert!(x);",
        "#[cfg(test)]\nmod tests {\n  fn f() { if a { x.unwrap(); } }\n  fn g() { y.unwrap() }\n}\n",
    ] {
        assert_eq!(panics(&source("a.rs", good)), Vec::<String>::new(), "{good}");
    }
    let offender = panics(&source("robot/a.rs", "\n\nlet a = b.unwrap();\n"));
    assert_eq!(offender, ["src/robot/a.rs:3: may panic: let a = b.unwrap();"]);
}

#[test]
fn the_scanner_sees_crates_out_of_their_folder() {
    let offends = |path: &str, text: &str| !confined_crates(&source(path, text)).is_empty();
    assert!(offends("robot/a.rs", "use r2r::Node;"));
    assert!(offends("robot/a.rs", "let n: r2r::Node;"));
    assert!(offends("perceive/decode.rs", "use ort::session::Session;"));
    assert!(offends("perceive/a.rs", "use tokio::sync::mpsc;"));
    assert!(offends("perceive/a.rs", "use tch;"));
    assert!(offends("train/ranks/mod.rs", "use mpi::traits::Communicator;"));
    assert!(offends("ros/a.rs", "fn f() -> anyhow::Result<()> {}"));
    assert!(!offends("ros/a.rs", "use r2r::Node;"));
    assert!(!offends("perceive/infer/session.rs", "use ort::session::Session;"));
    assert!(!offends("robot/a.rs", "use tokio::sync::mpsc; // r2r::Node"));
    assert!(!offends("robot/a.rs", "let text = report::text; let sort = a.sort(); port::x();"));
}

#[test]
fn the_scanner_sees_uses_of_higher_layers() {
    let offends = |path: &str, text: &str| !layering(&source(path, text)).is_empty();
    assert!(offends("perceive/a.rs", "use crate::robot::Health;"));
    assert!(offends("config/mod.rs", "use crate::{contract::Size, perceive::Frame};"));
    assert!(offends("config/mod.rs", "fn f(x: &crate::robot::Health) {}"));
    assert!(offends("robot/a.rs", "use crate::{\n    config::X,\n    ros::Y,\n};"));
    assert!(offends("newcomer/a.rs", ""), "a module without a layer");
    assert!(!offends("robot/a.rs", "use crate::{config::{A, B}, perceive::Frame, robot::x};"));
    assert!(!offends("perceive/a.rs", "// crate::robot\nuse crate::contract::Size;"));
    assert!(offends("bin/node.rs", "use looptrans_ros::unheard_of::run;"));
    assert!(!offends("bin/node.rs", "use looptrans_ros::ros::run;"));
    assert!(!offends("ros/publish.rs", "use r2r::looptrans_ros::msg::LabelInfo;"));
    assert!(!offends("error.rs", "use crate::perceive::InferError;"));
}
