//! Strings at the border to ROS: what C strings cannot hold, and what is too long to copy into every message.

/// Longest frame id that is copied, in bytes. Real ones are names of robot links.
pub const MAX_FRAME_ID_BYTES: usize = 1024;
/// Longest line that goes to the log and to `/rosout`, in bytes.
pub const MAX_LOG_BYTES: usize = 4096;

/// The longest prefix that is UTF-8, holds no NUL and has at most `max_bytes` bytes.
///
/// A NUL would end the string early in every C program and makes r2r panic.
pub fn clean_prefix(bytes: &[u8], max_bytes: usize) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()).min(max_bytes);
    let bytes = &bytes[..end];
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // Valid by the error's own word; the fallback is never used.
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_as_they_are() {
        assert_eq!(clean_prefix(b"camera_optical_frame", 64), "camera_optical_frame");
        assert_eq!(clean_prefix("caméra_🤖".as_bytes(), 64), "caméra_🤖");
        assert_eq!(clean_prefix(b"", 64), "");
    }

    #[test]
    fn text_is_cut_before_a_nul_before_bad_utf8_and_between_characters() {
        assert_eq!(clean_prefix(b"cam\0era", 64), "cam");
        assert_eq!(clean_prefix(b"cam\xff\xfe", 64), "cam");
        assert_eq!(clean_prefix("caméra".as_bytes(), 4), "cam");
        assert_eq!(clean_prefix(&vec![b'a'; 1 << 20], MAX_FRAME_ID_BYTES).len(), MAX_FRAME_ID_BYTES);
    }
}
