//! One error for the whole library, a variant per stage. Each stage's own type holds the evidence: what was expected,
//! what was found, in which file; [`one_line`] makes what came from outside fit for a message.

#[cfg(feature = "onnx")]
use crate::parity::ParityError;
use crate::{
    config::ConfigError,
    contract::BundleError,
    convert::ConvertError,
    export::{ExportError, precision::PrecisionError},
    perceive::InferError,
};

/// What can stop a program at start-up. Errors of a single frame are [`crate::perceive::FrameError`]: they reject that
/// frame and are counted, they never stop anything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter or settings file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A model bundle is missing, damaged or not what its contract says.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// ONNX Runtime could not load or run the model.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A checkpoint could not be turned into weights.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// Weights could not be turned into a model bundle.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A graph could not be given another precision.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// A bundle could not be compared with its weights.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Parity(#[from] ParityError),
}

/// Text from outside, made fit to stand in a message: at most `most` characters (then "..."), on one line, with nothing in
/// it that moves a terminal's cursor or turns its reading direction.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            return line + "...";
        }
        match c {
            '"' | '\'' | '\\' => line.push(c),
            c => line.extend(c.escape_debug()),
        }
    }
    line
}

/// A text with each line break, and the indentation after it, made a space.
pub(crate) fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A line of an error, in characters: more than any honest chain of causes has.
const LONGEST_LINE: usize = 16_000;

/// All that an error says, on one line that can do nothing to a terminal: for the end of a program and for logs.
pub fn whole_line(text: &str) -> String {
    one_line(&joined(text), LONGEST_LINE)
}

#[cfg(test)]
mod tests {
    use super::{one_line, whole_line};

    #[test]
    fn text_from_outside_stays_on_one_line_and_short() {
        assert_eq!(one_line("it's \"é\" \\ 1", 80), "it's \"é\" \\ 1");
        assert_eq!(one_line("a\nb\u{1b}[2J\u{202e}c\0", 80), r"a\nb\u{1b}[2J\u{202e}c\0");
        assert_eq!(one_line("abcd", 4), "abcd");
        assert_eq!(one_line("abcde", 4), "abcd...");
    }
    #[test]
    fn a_whole_line_keeps_a_long_chain_of_causes_and_nothing_that_moves_a_cursor() {
        let cause = "cannot read the file:\n    ".repeat(100);
        assert_eq!(whole_line(&cause), "cannot read the file: ".repeat(100).trim_end());
        assert_eq!(whole_line("a \u{1b}[2J\r\nb"), r"a \u{1b}[2J b");
    }
}
