//! CDR, the byte format of ROS 2 messages on the wire: a bounded reader and a writer into a reused buffer.
//!
//! Source: OMG DDS-XTypes 1.3, 7.4.1 (version 1 encoding, "plain" CDR): a 4-byte encapsulation header (identifier,
//! options), then the fields, each aligned to its own size counted from the end of that header. Strings are a u32 length
//! that includes a final NUL, sequences a u32 count. ROS 2 sends nothing else.

/// Representation identifiers (DDS-XTypes 1.3, table 60).
const CDR_BIG_ENDIAN: u16 = 0x0000;
const CDR_LITTLE_ENDIAN: u16 = 0x0001;
/// Bytes of the encapsulation header.
const HEADER_BYTES: usize = 4;

/// Why bytes are not the message they should be, or a message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CdrError {
    /// The message ends before a field does.
    #[error("{field}: expected {needed} bytes at offset {offset}, found {left}")]
    Truncated {
        /// The field being read.
        field: &'static str,
        /// Bytes from the end of the encapsulation header.
        offset: usize,
        /// Bytes the field needs.
        needed: usize,
        /// Bytes the message still has.
        left: usize,
    },
    /// The encapsulation header names another format.
    #[error("encapsulation: expected plain CDR (0x0000 or 0x0001), found {0:#06x}")]
    Encapsulation(u16),
    /// A sequence or string longer than a u32 can count.
    #[error("{field}: expected at most {} bytes, found {bytes}", u32::MAX)]
    TooLong {
        /// The field being written.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
}

/// Reads fields one after another from a borrowed message; never panics, never allocates.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    /// The message after the encapsulation header.
    bytes: &'a [u8],
    offset: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    /// Reads the encapsulation header.
    ///
    /// # Errors
    /// Fewer than four bytes, or a format other than plain CDR.
    pub fn new(message: &'a [u8]) -> Result<Self, CdrError> {
        let field = "encapsulation";
        let Some((header, bytes)) = message.split_at_checked(HEADER_BYTES) else {
            return Err(CdrError::Truncated { field, offset: 0, needed: HEADER_BYTES, left: message.len() });
        };
        let identifier = u16::from_be_bytes([header[0], header[1]]);
        match identifier {
            CDR_BIG_ENDIAN | CDR_LITTLE_ENDIAN => {
                Ok(Self { bytes, offset: 0, big_endian: identifier == CDR_BIG_ENDIAN })
            }
            _ => Err(CdrError::Encapsulation(identifier)),
        }
    }

    /// # Errors
    /// The message ends first.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, CdrError> {
        Ok(self.array::<1>(field)?[0])
    }

    /// # Errors
    /// The message ends first.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, CdrError> {
        let bytes = self.array::<4>(field)?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// # Errors
    /// The message ends first.
    pub fn i32(&mut self, field: &'static str) -> Result<i32, CdrError> {
        Ok(self.u32(field)?.cast_signed())
    }

    /// A string's bytes without the final NUL. Whether they are UTF-8 is the caller's question.
    ///
    /// # Errors
    /// The message ends first.
    pub fn string(&mut self, field: &'static str) -> Result<&'a [u8], CdrError> {
        let bytes = self.byte_sequence(field)?;
        Ok(bytes.strip_suffix(&[0]).unwrap_or(bytes))
    }

    /// A `uint8[]`, borrowed.
    ///
    /// # Errors
    /// The message ends first.
    pub fn byte_sequence(&mut self, field: &'static str) -> Result<&'a [u8], CdrError> {
        // A count that does not fit usize cannot fit the message either.
        let count = usize::try_from(self.u32(field)?).unwrap_or(usize::MAX);
        self.take(field, count)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CdrError> {
        self.offset = self.offset.next_multiple_of(N);
        let bytes = self.take(field, N)?;
        // `take` returned exactly N bytes; the fallback is never used.
        Ok(bytes.try_into().unwrap_or([0; N]))
    }

    fn take(&mut self, field: &'static str, needed: usize) -> Result<&'a [u8], CdrError> {
        let rest = self.bytes.get(self.offset..).unwrap_or(&[]);
        let Some(taken) = rest.get(..needed) else {
            return Err(CdrError::Truncated { field, offset: self.offset, needed, left: rest.len() });
        };
        self.offset += needed;
        Ok(taken)
    }
}

/// Writes a little-endian message into a buffer that is reused from frame to frame: over what another message left there,
/// since clearing megabytes first would take as long as copying them.
#[derive(Debug)]
pub struct Writer<'b> {
    /// As long as the longest message so far.
    buffer: &'b mut Vec<u8>,
    /// Bytes of this message.
    end: usize,
}

impl<'b> Writer<'b> {
    /// Writes the encapsulation header.
    pub fn new(buffer: &'b mut Vec<u8>) -> Self {
        let mut new = Self { buffer, end: 0 };
        new.put(&[0, 1, 0, 0]);
        new
    }

    /// The message.
    pub fn finish(self) -> &'b [u8] {
        &self.buffer[..self.end]
    }

    /// Writes a `uint8` or `bool`.
    pub fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Writes a `uint16`.
    pub fn u16(&mut self, value: u16) {
        self.aligned(value.to_le_bytes());
    }

    /// Writes a `uint32`.
    pub fn u32(&mut self, value: u32) {
        self.aligned(value.to_le_bytes());
    }

    /// Writes an `int32`.
    pub fn i32(&mut self, value: i32) {
        self.aligned(value.to_le_bytes());
    }

    /// Writes a `float32`.
    pub fn f32(&mut self, value: f32) {
        self.aligned(value.to_le_bytes());
    }

    /// Writes the count of a sequence, or of a string's bytes.
    ///
    /// # Errors
    /// More than a u32 can count.
    pub fn count(&mut self, field: &'static str, count: usize) -> Result<(), CdrError> {
        self.u32(u32::try_from(count).map_err(|_| CdrError::TooLong { field, bytes: count })?);
        Ok(())
    }

    /// Writes a `string`, cut at its first NUL: what follows one could not be read back.
    ///
    /// # Errors
    /// Longer than a u32 can count.
    pub fn string(&mut self, field: &'static str, text: &str) -> Result<(), CdrError> {
        let text = text.split('\0').next().unwrap_or("");
        self.count(field, text.len().saturating_add(1))?;
        self.put(text.as_bytes());
        self.put(&[0]);
        Ok(())
    }

    /// Writes a `uint8[]`.
    ///
    /// # Errors
    /// Longer than a u32 can count.
    pub fn byte_sequence(&mut self, field: &'static str, bytes: &[u8]) -> Result<(), CdrError> {
        self.byte_sequence_by(field, bytes.len(), |room| room.copy_from_slice(bytes))
    }

    /// Writes a `uint8[]` of so many bytes, each of which `fill` must write.
    ///
    /// # Errors
    /// Longer than a u32 can count.
    pub fn byte_sequence_by(
        &mut self,
        field: &'static str,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), CdrError> {
        self.count(field, bytes)?;
        fill(self.room(bytes));
        Ok(())
    }

    fn aligned<const N: usize>(&mut self, bytes: [u8; N]) {
        let offset = self.end - HEADER_BYTES;
        self.room(offset.next_multiple_of(N) - offset).fill(0);
        self.put(&bytes);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }

    /// The next so many bytes, with anything in them.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.end;
        self.end += bytes;
        if self.buffer.len() < self.end {
            self.buffer.resize(self.end, 0);
        }
        &mut self.buffer[start..self.end]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_aligned_to_their_own_size_after_the_header() {
        // What another message left is overwritten, padding too.
        let mut buffer = vec![9; 100];
        let mut writer = Writer::new(&mut buffer);
        writer.u8(7);
        writer.u16(0x0102);
        writer.u8(8);
        writer.u32(0x0304_0506);
        writer.string("text", "ab").unwrap();
        writer.f32(1.0);
        #[rustfmt::skip]
        let expected = [
            0, 1, 0, 0,             // little-endian plain CDR
            7, 0, 2, 1,             // u8, padding, u16
            8, 0, 0, 0,             // u8, padding
            6, 5, 4, 3,             // u32
            3, 0, 0, 0,             // length with the NUL
            b'a', b'b', 0, 0,       // text, NUL, padding
            0, 0, 0x80, 0x3f,       // 1.0
        ];
        assert_eq!(writer.finish(), expected);
    }

    #[test]
    fn big_endian_messages_are_read() {
        let message = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 2, b'x', 0, 0, 0, 1, 2, 3, 4];
        let mut reader = Reader::new(&message).unwrap();
        assert_eq!(reader.i32("sec").unwrap(), -2);
        assert_eq!(reader.string("text").unwrap(), b"x");
        assert_eq!(reader.u32("number").unwrap(), 0x0102_0304);
    }

    #[test]
    fn other_encapsulations_are_refused() {
        // Parameter-list CDR and the XCDR2 kinds.
        for identifier in [0x0002_u16, 0x0003, 0x0006, 0x0007, 0x0100, 0xffff] {
            let [high, low] = identifier.to_be_bytes();
            assert_eq!(Reader::new(&[high, low, 0, 0]).unwrap_err(), CdrError::Encapsulation(identifier));
        }
        assert!(matches!(Reader::new(&[0, 1, 0]), Err(CdrError::Truncated { left: 3, .. })));
    }

    #[test]
    fn a_length_beyond_the_message_is_refused_with_the_evidence() {
        let message = [0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 2];
        let error = Reader::new(&message).unwrap().byte_sequence("data").unwrap_err();
        assert_eq!(error, CdrError::Truncated { field: "data", offset: 4, needed: u32::MAX as usize, left: 2 });
    }

    #[test]
    fn text_is_cut_at_a_nul_and_may_be_empty() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        writer.string("text", "cam\0junk").unwrap();
        writer.string("text", "").unwrap();
        let mut reader = Reader::new(writer.finish()).unwrap();
        assert_eq!(reader.string("text").unwrap(), b"cam");
        assert_eq!(reader.string("text").unwrap(), b"");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            endian in 0u8..3, body: Vec<u8>, fields in proptest::collection::vec(0u8..5, 0..20),
        ) {
            let message = [&[0, endian, 0, 0], &body[..]].concat();
            if let Ok(mut reader) = Reader::new(&message) {
                for field in fields {
                    let left = reader.bytes.len().saturating_sub(reader.offset);
                    match field {
                        0 => { let _ = reader.u8("f"); }
                        1 => { let _ = reader.u32("f"); }
                        2 => { let _ = reader.i32("f"); }
                        3 => prop_assert!(reader.string("f").map_or(0, <[u8]>::len) <= left),
                        _ => prop_assert!(reader.byte_sequence("f").map_or(0, <[u8]>::len) <= left),
                    }
                }
            }
        }

        #[test]
        fn what_is_written_is_read_back(a: u8, b: u32, c: i32, text in "[^\0]{0,40}", bytes: Vec<u8>) {
            let mut buffer = Vec::new();
            let mut writer = Writer::new(&mut buffer);
            writer.u8(a);
            writer.u32(b);
            writer.string("text", &text).unwrap();
            writer.byte_sequence("bytes", &bytes).unwrap();
            writer.i32(c);
            let mut reader = Reader::new(writer.finish()).unwrap();
            prop_assert_eq!(reader.u8("f").unwrap(), a);
            prop_assert_eq!(reader.u32("f").unwrap(), b);
            prop_assert_eq!(reader.string("f").unwrap(), text.as_bytes());
            prop_assert_eq!(reader.byte_sequence("f").unwrap(), &bytes[..]);
            prop_assert_eq!(reader.i32("f").unwrap(), c);
        }
    }
}
