//! Protobuf's wire format, read in place: fields with their borrowed contents, no message types, no allocation.

/// The contents of a message (or string, or byte array) and where in the file they start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'a> {
    pub bytes: &'a [u8],
    pub offset: usize,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
    /// Where its key starts in the file.
    pub offset: usize,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    /// 4 or 8 bytes: floats and doubles, which nothing here needs.
    Fixed,
    Span(Span<'a>),
}

/// The file is not protobuf at `offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub offset: usize,
    pub expected: String,
    pub found: String,
}

/// The fields of a message, in file order. Ends after the first [`Damage`].
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Span<'a> {
    pub fn fields(self) -> Fields<'a> {
        Fields { rest: self.bytes, offset: self.offset }
    }
}

impl<'a> Fields<'a> {
    fn next_field(&mut self) -> Result<Field<'a>, Damage> {
        let offset = self.offset;
        // Readers that keep the low 32 bits of a longer one would see another field.
        let key = self.varint()?;
        let key = u32::try_from(key).map_err(|_| damage(offset, "a field's key of 32 bits", format!("{key}")))?;
        let number = key >> 3;
        if number == 0 {
            return Err(damage(offset, "a field number", "0".to_owned()));
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                Value::Span(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            other => return Err(damage(offset, "wire type 0, 1, 2 or 5", other.to_string())),
        };
        Ok(Field { number, value, offset })
    }

    fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f).wrapping_shl(7 * index as u32);
            if byte < 0x80 {
                self.advance(index + 1);
                return Ok(value);
            }
        }
        let found = format!("{} bytes without an end", self.rest.len().min(10));
        Err(damage(self.offset, "a number of at most 10 bytes", found))
    }

    fn take(&mut self, len: u64) -> Result<Span<'a>, Damage> {
        match usize::try_from(len).ok().and_then(|len| self.rest.get(..len)) {
            Some(bytes) => {
                let span = Span { bytes, offset: self.offset };
                self.advance(bytes.len());
                Ok(span)
            }
            None => {
                let expected = format!("at most the {} bytes that are left", self.rest.len());
                Err(damage(self.offset, &expected, format!("a length of {len}")))
            }
        }
    }

    fn advance(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
        self.offset += len;
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.next_field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn damage(offset: usize, expected: &str, found: String) -> Damage {
    Damage { offset, expected: expected.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(bytes: &[u8]) -> Vec<Result<Field<'_>, Damage>> {
        Span { bytes, offset: 0 }.fields().collect()
    }

    #[test]
    fn every_wire_type_is_read_and_the_next_field_found() {
        let found = fields(&[0x08, 0x96, 0x01, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, 7, 8, 0x25, 0, 0, 0, 0]);
        let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
        assert_eq!(found.iter().map(|f| f.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(matches!(found[0].value, Value::Varint(150)));
        assert!(matches!(found[2].value, Value::Span(Span { bytes: [7, 8], offset: 14 })));
    }

    #[test]
    fn a_length_beyond_the_file_is_damage() {
        for len in [vec![0x7f], vec![0xff; 9].into_iter().chain([1]).collect()] {
            let bytes: Vec<u8> = [0x0a].into_iter().chain(len).chain([0; 5]).collect();
            let error = fields(&bytes).pop().unwrap().unwrap_err();
            assert!(error.found.starts_with("a length of"), "{error:?}");
        }
    }

    #[test]
    fn groups_and_field_number_zero_are_damage() {
        for bytes in [[0x0b, 0], [0x0c, 0], [0x00, 0], [0x0f, 0]] {
            assert!(fields(&bytes)[0].is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_key_of_more_than_32_bits_is_damage() {
        // Field 13 where only the low 32 bits count.
        let error = fields(&[0xea, 0x80, 0x80, 0x80, 0x10, 0])[0].clone().unwrap_err();
        assert_eq!((error.offset, error.expected.as_str()), (0, "a field's key of 32 bits"));
        assert!(fields(&[0xfa, 0xff, 0xff, 0xff, 0x0f, 0])[0].is_ok(), "the highest field there is");
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let found = fields(&bytes);
            prop_assert!(found.len() <= bytes.len());
            prop_assert!(found.iter().rev().skip(1).all(Result::is_ok));
        }
    }
}
