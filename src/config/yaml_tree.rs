//! YAML text to a small tree that keeps what rcl looks at: the style of scalars, the order of keys, line numbers.
//!
//! Refused, because rcl refuses them or reads them in surprising ways: aliases, tags but `!!str`, more than one document,
//! keys that are not scalars, the same key twice.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde::{Deserialize, de::IgnoredAny};

use super::value::shorten;
use crate::error::one_line;

/// Deeper nesting has no use here.
const MAX_DEPTH: usize = 32;
/// In characters: names and values in a problem may be of any length.
const LONGEST_PROBLEM: usize = 400;

/// A YAML value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Where it begins, from 1.
    pub line: usize,
    pub kind: NodeKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeKind {
    /// `quoted` scalars are strings whatever they look like.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    /// The key's line, from 1.
    pub line: usize,
    pub value: Node,
}

/// What is wrong, and in which line (0 = the file as a whole).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct YamlError {
    pub line: usize,
    pub problem: String,
}

impl YamlError {
    pub fn new(line: usize, problem: impl Into<String>) -> Self {
        Self { line, problem: one_line(&problem.into(), LONGEST_PROBLEM) }
    }
}

/// Reads the one document of `text`; None if there is none.
pub(super) fn parse(text: &str) -> Result<Option<Node>, YamlError> {
    check_syntax(text)?;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('%') {
            return Err(YamlError::new(index + 1, "YAML directives (%) are not supported: remove the line"));
        }
        // Line breaks in YAML 1.1 (libyaml), not in YAML 1.2.
        if let Some(c) = line.chars().find(|c| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')) {
            return Err(YamlError::new(index + 1, format!("the character {c:?} is not supported")));
        }
    }
    let mut reader = Reader { events: Parser::new_from_str(text), text: text.chars().collect() };
    let mut document = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(document),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if document.is_some() => {
                return Err(YamlError::new(span.start.line(), "expected one YAML document, found another (after ---)"));
            }
            event => document = Some(reader.node(event, span, Place::default())?),
        }
    }
}

/// libyaml, which rcl uses, decides what is YAML at all.
fn check_syntax(text: &str) -> Result<(), YamlError> {
    for document in serde_yaml::Deserializer::from_str(text) {
        IgnoredAny::deserialize(document).map_err(|error| {
            let line = error.location().map_or(0, |location| location.line());
            YamlError::new(line, format!("not YAML: {error}"))
        })?;
    }
    Ok(())
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// The source, since events do not tell `[a]` from `- a`.
    text: Vec<char>,
}

/// Where in the tree a value stands.
#[derive(Clone, Copy, Default)]
struct Place {
    depth: usize,
    /// Inside of [] or {}.
    in_flow: bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(YamlError::new(error.marker().line(), format!("not YAML: {error}"))),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, place: Place) -> Result<Node, YamlError> {
        let line = span.start.line();
        if place.depth > MAX_DEPTH {
            return Err(YamlError::new(line, format!("expected at most {MAX_DEPTH} levels of nesting")));
        }
        let kind = match event {
            Event::Scalar(text, style, _, tag) => {
                let is_string = match tag {
                    None => false,
                    Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
                    Some(_) => return Err(YamlError::new(line, "tags (!) other than !!str are not supported")),
                };
                if place.in_flow && style == ScalarStyle::Plain && text.contains([':', '?']) {
                    let problem = format!("{:?} needs quotes here: not every libyaml reads it", shorten(&text));
                    return Err(YamlError::new(line, problem));
                }
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if is_block && self.text.last() != Some(&'\n') {
                    return Err(YamlError::new(line, "text after | or > needs a line break at its end"));
                }
                let quoted = is_string || matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
                NodeKind::Scalar { text: text.into_owned(), quoted }
            }
            Event::SequenceStart(_, None) => NodeKind::List(self.list(self.inside(span, place))?),
            Event::MappingStart(_, None) => NodeKind::Map(self.map(self.inside(span, place))?),
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(YamlError::new(line, "tags (!) other than !!str are not supported"));
            }
            Event::Alias(_) => return Err(YamlError::new(line, "aliases (*) are not supported by ROS 2")),
            _ => return Err(YamlError::new(line, "expected a value")),
        };
        Ok(Node { line, kind })
    }

    /// The place of what the list or map at `span` holds.
    fn inside(&self, span: Span, place: Place) -> Place {
        let opening = self.text.get(span.start.index());
        Place { depth: place.depth + 1, in_flow: place.in_flow || matches!(opening, Some('[' | '{')) }
    }

    fn list(&mut self, place: Place) -> Result<Vec<Node>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, place)?),
            }
        }
    }

    fn map(&mut self, place: Place) -> Result<Vec<Entry>, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        loop {
            let (key, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (event, span) => {
                    let node = self.node(event, span, place)?;
                    match node.kind {
                        NodeKind::Scalar { text, .. } if !text.is_empty() => (text, node.line),
                        _ => return Err(YamlError::new(node.line, "expected a name as key")),
                    }
                }
            };
            if let Some(first) = lines.insert(key.clone(), line) {
                let problem = format!("{:?} is set twice, first in line {first}", shorten(&key));
                return Err(YamlError::new(line, problem));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, place)?;
            entries.push(Entry { key, line, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_order_and_lines_are_kept() {
        let root = parse("b: 'yes'\na: [1, \"2\"]\n").unwrap().unwrap();
        let NodeKind::Map(entries) = root.kind else { panic!("{root:?}") };
        assert_eq!((entries[0].key.as_str(), entries[0].line), ("b", 1));
        assert_eq!(entries[0].value.kind, NodeKind::Scalar { text: "yes".to_owned(), quoted: true });
        let NodeKind::List(items) = &entries[1].value.kind else { panic!("{entries:?}") };
        assert_eq!(items[0].kind, NodeKind::Scalar { text: "1".to_owned(), quoted: false });
        assert_eq!(items[1], Node { line: 2, kind: NodeKind::Scalar { text: "2".to_owned(), quoted: true } });
    }

    #[test]
    fn nothing_is_no_document() {
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("# only a comment\n"), Ok(None));
    }

    #[test]
    fn what_rcl_cannot_read_is_refused_with_its_line() {
        for (text, line, part) in [
            ("a: 1\nb: [1\n", 2, "not YAML"),
            ("a: \"open\n", 1, "not YAML"),
            ("a:\n\tb: 1\n", 2, "not YAML"),
            ("a: 1\n b: 2\n", 2, "not YAML"),
            ("a: &x 1\nb: *x\n", 2, "aliases"),
            ("a: 1\nb: 2\na: 3\n", 3, "\"a\" is set twice, first in line 1"),
            ("a: !!float 1\n", 1, "tags"),
            ("? [1]\n: 2\n", 1, "expected a name as key"),
            ("\"\": 1\n", 1, "expected a name as key"),
            ("a: 1\n---\nb: 1\n", 3, "expected one YAML document"),
            ("%YAML 1.2\n---\na: 1\n", 1, "directives"),
            ("a: 1\nb: \u{2028}\n", 2, "character"),
            ("a: [b:c]\n", 1, "needs quotes"),
            ("a: |\n  b", 2, "line break"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.problem.contains(part), "{text:?}: {error:?}");
            // Parsers differ by one on where broken syntax begins.
            assert!(error.line.abs_diff(line) <= usize::from(part == "not YAML"), "{text:?}: {error:?}");
        }
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert!(parse(&deep).is_err());
    }
}
