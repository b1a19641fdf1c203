//! A tensor that still lies in the checkpoint file: where, and how to read it as float.

use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    os::unix::fs::FileExt,
};

use half::{bf16, f16};

use super::pickle::Element;

/// Elements read at once.
const CHUNK: u64 = 1 << 18;

/// A tensor in the file. Made by [`Self::place`], so all its elements lie inside its storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    element: Element,
    shape: Vec<u64>,
    /// Elements from one index to the next, per axis.
    strides: Vec<u64>,
    /// Byte of the file at which element 0 lies.
    start: u64,
    elements: u64,
    /// Elements from the first to the last, both included; 0 if there is none.
    span: u64,
}

/// What a tensor is made of, before it is checked.
#[derive(Debug, Clone)]
pub struct Placement<'a> {
    /// How an element is stored.
    pub element: Element,
    /// Sizes, outermost first.
    pub shape: &'a [u64],
    /// Elements from one index to the next, per axis.
    pub strides: &'a [u64],
    /// First element, counted from the storage's start.
    pub offset: u64,
    /// The storage's bytes in the file.
    pub storage: Range<u64>,
}

impl StoredTensor {
    /// None if an element would lie outside the storage, or a size overflows.
    pub fn place(placement: &Placement<'_>) -> Option<Self> {
        let Placement { element, shape, strides, offset, storage } = placement;
        let elements = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size))?;
        let mut span = u64::from(elements > 0);
        if elements > 0 {
            for (&size, &stride) in shape.iter().zip(*strides) {
                span = span.checked_add((size - 1).checked_mul(stride)?)?;
            }
        }
        let bytes = element.bytes();
        let start = storage.start.checked_add(offset.checked_mul(bytes)?)?;
        let end = start.checked_add(span.checked_mul(bytes)?)?;
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        (end <= storage.end).then_some(Self { element: *element, shape, strides, start, elements, span })
    }

    /// How its elements are stored.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Its sizes, outermost first.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Bytes that its elements would take if each lay in the file once.
    pub fn stored_bytes(&self) -> u64 {
        self.elements.saturating_mul(self.element.bytes())
    }

    /// Can it be read as numbers at all?
    pub fn is_numeric(&self) -> bool {
        !matches!(self.element, Element::Other(_))
    }

    /// Writes the elements in row-major order as f32, little-endian. Says whether all were finite.
    ///
    /// Memory: one chunk; for a tensor whose elements do not follow each other, its part of the file.
    pub fn write_f32(&self, file: &File, out: &mut impl Write) -> io::Result<bool> {
        let mut finite = true;
        let mut floats = Vec::new();
        self.for_each_chunk(file, |element, bytes| {
            floats.clear();
            finite &= append_f32(element, bytes, &mut floats);
            out.write_all(&floats)
        })?;
        Ok(finite)
    }

    /// The one element of a counter, rounded towards zero. None if there is not exactly one.
    pub fn read_counter(&self, file: &File) -> io::Result<Option<i64>> {
        if self.elements != 1 {
            return Ok(None);
        }
        let mut counter = None;
        self.for_each_chunk(file, |element, bytes| {
            counter = match (element, bytes.first_chunk::<8>()) {
                (Element::I64, Some(bytes)) => Some(i64::from_le_bytes(*bytes)),
                _ => {
                    let mut float = Vec::new();
                    append_f32(element, bytes, &mut float);
                    float.first_chunk::<4>().map(|bytes| f32::from_le_bytes(*bytes) as i64)
                }
            };
            Ok(())
        })?;
        Ok(counter)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let fits = size <= 1 || stride == expected;
            expected = size.saturating_mul(expected);
            fits
        })
    }

    fn for_each_chunk(&self, file: &File, mut consume: impl FnMut(Element, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let bytes = self.element.bytes();
        if self.elements == 0 {
            return Ok(());
        }
        if !self.is_contiguous() {
            return self.gather(file, consume);
        }
        let mut buffer = Vec::new();
        let mut done = 0;
        while done < self.elements {
            let count = CHUNK.min(self.elements - done);
            buffer.resize((count * bytes) as usize, 0);
            file.read_exact_at(&mut buffer, self.start + done * bytes)?;
            consume(self.element, &buffer)?;
            done += count;
        }
        Ok(())
    }

    /// Transposed, sliced or otherwise strided: row by row out of the bytes from the first to the last element.
    fn gather(&self, file: &File, mut consume: impl FnMut(Element, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let bytes = self.element.bytes() as usize;
        let mut span = vec![0; self.span as usize * bytes];
        file.read_exact_at(&mut span, self.start)?;
        let mut index = vec![0_u64; self.shape.len()];
        let mut chunk = Vec::with_capacity(CHUNK as usize * bytes);
        for done in 1..=self.elements {
            let at = index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum::<u64>() as usize * bytes;
            // `place` checked the span, so the slice is always there.
            chunk.extend_from_slice(span.get(at..at + bytes).unwrap_or_default());
            if done % CHUNK == 0 || done == self.elements {
                consume(self.element, &chunk)?;
                chunk.clear();
            }
            advance(&mut index, &self.shape);
        }
        Ok(())
    }
}

/// The next index in row-major order.
fn advance(index: &mut [u64], shape: &[u64]) {
    for (i, &size) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < size {
            return;
        }
        *i = 0;
    }
}

/// Appends f32 bytes; false if one of them is NaN or infinite (an f64 beyond f32's range becomes infinite).
fn append_f32(element: Element, bytes: &[u8], out: &mut Vec<u8>) -> bool {
    fn each<const N: usize>(bytes: &[u8], out: &mut Vec<u8>, to_f32: impl Fn([u8; N]) -> f32) -> bool {
        let mut finite = true;
        for &value in bytes.as_chunks::<N>().0 {
            let value = to_f32(value);
            finite &= value.is_finite();
            out.extend_from_slice(&value.to_le_bytes());
        }
        finite
    }
    match element {
        Element::F32 => each(bytes, out, f32::from_le_bytes),
        Element::F16 => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        Element::BF16 => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        Element::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        Element::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
        // Callers ask `is_numeric` first; no value at all is caught by the length checks of the file format.
        Element::Other(_) => false,
    }
}
