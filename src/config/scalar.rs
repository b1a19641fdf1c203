//! What type rcl gives a YAML scalar.
//!
//! rcl asks C's strtol and strtod (base 0: 0x10 = 16, 010 = 8) after YAML 1.1's words for true and false; quoted
//! scalars are always strings. We do the same, so that `ros2 param`, rclcpp and this node agree on a file.

use super::ParameterValue;

const TRUE: [&str; 11] = ["Y", "y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
const FALSE: [&str; 11] = ["N", "n", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"];

/// A scalar that is neither quoted nor a block.
pub(super) fn plain(text: &str) -> ParameterValue {
    if TRUE.contains(&text) {
        return ParameterValue::Bool(true);
    }
    if FALSE.contains(&text) {
        return ParameterValue::Bool(false);
    }
    if let Some(number) = integer(text) {
        return ParameterValue::Integer(number);
    }
    match double(text) {
        Some(number) => ParameterValue::Double(number),
        None => ParameterValue::String(text.to_owned()),
    }
}

/// strtol with base 0, over the whole text; None past 64 bits.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = signed(text);
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // from_str_radix takes signs of its own.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// strtod, over the whole text, and YAML's .inf and .nan; None where strtod reports overflow or underflow.
fn double(text: &str) -> Option<f64> {
    let (negative, rest) = signed(text);
    let magnitude = if matches!(rest, ".inf" | ".Inf" | ".INF") {
        f64::INFINITY
    } else if matches!(text, ".nan" | ".NaN" | ".NAN") {
        f64::NAN
    } else {
        unsigned_double(rest)?
    };
    Some(if negative { -magnitude } else { magnitude })
}

fn unsigned_double(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    if lower == "inf" || lower == "infinity" {
        return Some(f64::INFINITY);
    }
    if let Some(rest) = lower.strip_prefix("nan") {
        let tagged = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let is_tag = |tag: &str| tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        return (rest.is_empty() || tagged.is_some_and(is_tag)).then_some(f64::NAN);
    }
    if let Some(hex) = lower.strip_prefix("0x") {
        return hex_double(hex);
    }
    // Rust's own words (inf, nan) and signs are excluded by the first character.
    if !lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let number: f64 = lower.parse().ok()?;
    let nonzero_digits = lower.split('e').next().is_some_and(|m| m.bytes().any(|b| matches!(b, b'1'..=b'9')));
    let out_of_range = number.is_infinite() || (nonzero_digits && !number.is_normal());
    (!out_of_range).then_some(number)
}

/// C's hexadecimal floats: digits, perhaps a point, perhaps p and a power of two ("1.8p3" = 12).
fn hex_double(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once('p') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0_f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    let number = value * 2.0_f64.powi(shift);
    (number.is_finite() && (number != 0.0 || value == 0.0)).then_some(number)
}

fn signed(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected types and values were read off rcl (Jazzy) by giving it a file with `a: <text>`.
    #[test]
    fn types_are_those_rcl_infers() {
        use ParameterValue::{Bool, Double, Integer, String};
        let string = |text: &str| String(text.to_owned());
        for (text, expected) in [
            ("1", Integer(1)),
            ("+1", Integer(1)),
            ("-1", Integer(-1)),
            ("0x10", Integer(16)),
            ("-0x1F", Integer(-31)),
            ("010", Integer(8)),
            ("0", Integer(0)),
            ("9223372036854775807", Integer(i64::MAX)),
            ("99999999999999999999", Double(1e20)),
            ("1.0", Double(1.0)),
            ("1e3", Double(1000.0)),
            (".5", Double(0.5)),
            ("5.", Double(5.0)),
            ("0x1p3", Double(8.0)),
            ("inf", Double(f64::INFINITY)),
            ("infinity", Double(f64::INFINITY)),
            ("-.inf", Double(f64::NEG_INFINITY)),
            ("yes", Bool(true)),
            ("Y", Bool(true)),
            ("on", Bool(true)),
            ("OFF", Bool(false)),
            ("0o10", string("0o10")),
            ("0b11", string("0b11")),
            ("1_000", string("1_000")),
            ("1e400", string("1e400")),
            ("1d", string("1d")),
            ("1f", string("1f")),
            ("~", string("~")),
            ("null", string("null")),
            ("2020-01-01", string("2020-01-01")),
            ("+-1", string("+-1")),
            ("--1", string("--1")),
            ("0x", string("0x")),
            ("0x+1", string("0x+1")),
            ("089", Double(89.0)),
            ("0.", Double(0.0)),
            ("+.5", Double(0.5)),
            ("0x.8", Double(0.5)),
            ("0x1.8p3", Double(12.0)),
            ("0x1p+3", Double(8.0)),
            ("-inf", Double(f64::NEG_INFINITY)),
            ("-9223372036854775808", Integer(i64::MIN)),
            ("0xffffffffffffffff", Double(18_446_744_073_709_551_615.0)),
            ("1e", string("1e")),
            ("1e-400", string("1e-400")),
            ("1e-310", string("1e-310")),
            ("-.nan", string("-.nan")),
            (".e1", string(".e1")),
            ("0x1p", string("0x1p")),
            ("0x1p99999", string("0x1p99999")),
            ("nan(", string("nan(")),
            ("1 000", string("1 000")),
            (".", string(".")),
            ("hold", string("hold")),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
        for nan in [".nan", ".NaN", "nan", "+nan", "nan()", "NAN(1)"] {
            assert!(matches!(plain(nan), Double(value) if value.is_nan()), "{nan}");
        }
    }
}
