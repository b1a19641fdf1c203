//! Files that torch.save would never write: a pickle assembler and archives around it.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A pickle in the making, protocol 2.
pub struct Pickle(Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    /// A non-negative integer of 8 bytes.
    pub fn int(self, value: u64) -> Self {
        self.raw(&[0x8a, 9]).raw(&value.to_le_bytes()).raw(&[0])
    }

    pub fn ints(mut self, values: &[u64]) -> Self {
        self = self.raw(b"(");
        for value in values {
            self = self.int(*value);
        }
        self.raw(b"t")
    }

    /// `key: tensor` inside an open dictionary; the storage is named "0" and holds `length` floats.
    pub fn tensor(self, key: &str, length: u64, (offset, shape, strides): (u64, &[u64], &[u64])) -> Self {
        let storage = self.text(key).global("torch._utils", "_rebuild_tensor_v2").raw(b"((").text("storage");
        let storage = storage.global("torch", "FloatStorage").text("0").text("cpu").int(length).raw(b"tQ");
        storage.int(offset).ints(shape).ints(strides).raw(b"\x89}tR")
    }

    pub fn open_dict(self) -> Self {
        self.raw(b"}(")
    }

    pub fn close_dict(self) -> Self {
        self.raw(b"u")
    }

    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// An archive of plainly stored members.
pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in members {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// An archive as torch.save names its members.
pub fn torch_archive(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    archive(&[("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", storage), ("a/version", b"3\n")])
}
