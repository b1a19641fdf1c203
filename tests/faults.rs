//! Covers: `docs/faults.md` names tests that exist.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

#[test]
fn every_test_that_the_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let quoted =
        table.lines().filter(|line| line.starts_with("| ")).flat_map(|line| line.split('`').skip(1).step_by(2));
    let named: Vec<(&str, &str)> = quoted.filter_map(|text| text.split_once(".rs: ")).collect();
    assert!(named.len() > 40, "only {} tests are named", named.len());
    for (file, name) in named {
        let source = fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default();
        let declared = if name == "*" { "#[test]".to_owned() } else { format!("fn {name}(") };
        assert!(source.contains(&declared), "docs/faults.md names {file}.rs: {name}, which is not there");
    }
}
