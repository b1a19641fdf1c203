//! Bounded little-endian reads that know their position.

use std::io::{self, Read};

use super::{MAX_PICKLE_BYTES, PickleError};

/// A reader that counts what it gave, so that errors can say where and old-format files can be read on after a pickle.
pub struct CountingReader<R> {
    inner: R,
    offset: u64,
    limit: u64,
}

impl<R: Read> CountingReader<R> {
    /// Wraps a (buffered) reader standing at the start of a file or member.
    pub fn new(inner: R) -> Self {
        Self { inner, offset: 0, limit: MAX_PICKLE_BYTES }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next pickle of the same file may have its full size again.
    pub(super) fn start_pickle(&mut self) {
        self.limit = self.offset.saturating_add(MAX_PICKLE_BYTES);
    }

    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), PickleError> {
        let end = self.offset.saturating_add(buffer.len() as u64);
        self.check_limit(end)?;
        match self.inner.read_exact(buffer) {
            Ok(()) => {
                self.offset = end;
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(PickleError::Truncated { offset: self.offset }),
            Err(e) => Err(PickleError::Io(e)),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, PickleError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, PickleError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, PickleError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// `length` bytes. Memory grows with what is really there, not with what the length claims.
    pub(super) fn bytes(&mut self, length: u64) -> Result<Vec<u8>, PickleError> {
        self.check_limit(self.offset.saturating_add(length))?;
        let mut bytes = Vec::new();
        let read = (&mut self.inner).take(length).read_to_end(&mut bytes).map_err(PickleError::Io)? as u64;
        self.offset += read;
        if read < length { Err(PickleError::Truncated { offset: self.offset }) } else { Ok(bytes) }
    }

    /// Up to and without the next line feed.
    pub(super) fn line(&mut self) -> Result<String, PickleError> {
        const MAX_LINE: usize = 4096;
        let mut line = Vec::new();
        loop {
            match self.u8()? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                _ if line.len() == MAX_LINE => {
                    return Err(PickleError::TooLarge { what: "bytes in one line", max: MAX_LINE as u64 });
                }
                byte => line.push(byte),
            }
        }
    }

    fn check_limit(&self, end: u64) -> Result<(), PickleError> {
        if end > self.limit {
            return Err(PickleError::TooLarge { what: "bytes", max: MAX_PICKLE_BYTES });
        }
        Ok(())
    }
}
