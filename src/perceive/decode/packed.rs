//! Encodings with all channels of a pixel side by side: one row in, one row of RGB out, both of the same width.

use crate::perceive::frame::Endian;

/// Blue, green, red.
pub(super) fn bgr8(bgr: &[u8], rgb: &mut [u8]) {
    for (to, from) in rgb.chunks_exact_mut(3).zip(bgr.chunks_exact(3)) {
        to.copy_from_slice(&[from[2], from[1], from[0]]);
    }
}

/// Red, green, blue, alpha.
pub(super) fn rgba8(rgba: &[u8], rgb: &mut [u8]) {
    for (to, from) in rgb.chunks_exact_mut(3).zip(rgba.chunks_exact(4)) {
        to.copy_from_slice(&from[..3]);
    }
}

/// Blue, green, red, alpha.
pub(super) fn bgra8(bgra: &[u8], rgb: &mut [u8]) {
    for (to, from) in rgb.chunks_exact_mut(3).zip(bgra.chunks_exact(4)) {
        to.copy_from_slice(&[from[2], from[1], from[0]]);
    }
}

/// Grey.
pub(super) fn mono8(grey: &[u8], rgb: &mut [u8]) {
    for (to, &level) in rgb.chunks_exact_mut(3).zip(grey) {
        to.fill(level);
    }
}

/// Grey of 16 bits.
pub(super) fn mono16(endian: Endian) -> fn(&[u8], &mut [u8]) {
    match endian {
        Endian::Little => |grey, rgb| mono16_with(u16::from_le_bytes, grey, rgb),
        Endian::Big => |grey, rgb| mono16_with(u16::from_be_bytes, grey, rgb),
    }
}

fn mono16_with(sample: fn([u8; 2]) -> u16, grey: &[u8], rgb: &mut [u8]) {
    for (to, from) in rgb.chunks_exact_mut(3).zip(grey.chunks_exact(2)) {
        to.fill(to_8_bits(sample([from[0], from[1]])));
    }
}

/// Full scale to full scale, to nearest: `round(level * 255 / 65535)`, as cv_bridge converts mono16 to mono8.
pub(super) fn to_8_bits(level: u16) -> u8 {
    // 65535 = 255 * 257, and a quotient by the odd 257 is never halfway. Cannot exceed 255.
    ((u32::from(level) + 128) / 257) as u8
}
