//! The commented parameter file, written from the table.

use super::{DoubleDefault, Kind, PARAMETERS, Parameter};

const WIDTH: usize = 110;
const INDENT: &str = "    ";
const HEAD: &str = "\
# Every parameter of affordance_node with its default. Written from the node's own table:
#   affordance_node --print-config
# The node refuses unknown names, wrong types (write 2.0, not 2, for a double) and values out of range.
/**:
  ros__parameters:
";

/// `config/affordance_node.yaml`: every parameter with its default, and description, type, range as comments. A
/// parameter that is unset by default is a commented line.
pub fn config_text() -> String {
    let mut text = HEAD.to_owned();
    for (index, parameter) in PARAMETERS.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        push_comment(&mut text, parameter.description);
        push_comment(&mut text, &range(parameter));
        text.push_str(INDENT);
        text.push_str(&assignment(parameter));
        text.push('\n');
    }
    text
}

fn range(parameter: &Parameter) -> String {
    let expected = parameter.kind.expected();
    match parameter.kind {
        Kind::Text { empty, .. } | Kind::Names { empty, .. } => format!("{expected}; empty = {empty}"),
        Kind::Double { default: DoubleDefault::Unset { meaning, .. }, .. } => format!("{expected}; unset = {meaning}"),
        _ => expected,
    }
}

fn assignment(parameter: &Parameter) -> String {
    let name = parameter.name;
    match parameter.kind {
        Kind::Bool { default, .. } => format!("{name}: {default}"),
        Kind::Integer { default, .. } => format!("{name}: {default}"),
        Kind::Double { default: DoubleDefault::Value(default), .. } => format!("{name}: {default:?}"),
        Kind::Double { default: DoubleDefault::Unset { example, .. }, .. } => format!("# {name}: {example:?}"),
        Kind::Choice { default, .. } => format!("{name}: {default}"),
        Kind::Text { .. } => format!("{name}: \"\""),
        Kind::Names { .. } => format!("{name}: []"),
    }
}

/// Adds a comment, broken at spaces.
fn push_comment(text: &mut String, comment: &str) {
    let mut line = String::new();
    for word in comment.split_whitespace() {
        if !line.is_empty() && INDENT.len() + 3 + line.len() + word.len() > WIDTH {
            text.push_str(&format!("{INDENT}# {line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.push_str(&format!("{INDENT}# {line}\n"));
}
