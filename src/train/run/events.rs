//! TensorBoard's event file: framed records (TFRecord) of protobuf messages. Crates that write such files are either not kept up
//! any more or panic on errors; the part of the format that is needed is small.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use image::{ImageFormat, RgbImage};
use prost::{Message, Oneof};

use super::tensor_file::io_error;
use crate::train::TrainError;

/// TensorBoard looks for `tfevents` in names.
pub(super) const EVENTS: &str = "events.out.tfevents.looptrans";
/// What the first record says.
const VERSION: &str = "brain.Event:2";
/// Of scores and pictures: known only once an epoch's test is done.
const OF_TESTS: &str = "test/";
/// A longer record is none of ours: a picture takes less than a megabyte.
const MAX_RECORD: u64 = 64 << 20;

/// tensorflow/core/util/event.proto, its part that is written here.
#[derive(Clone, PartialEq, Message)]
struct EventProto {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

/// tensorflow/core/framework/summary.proto.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Value", tags = "2, 4")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(float, tag = "2")]
    Simple(f32),
    #[prost(message, tag = "4")]
    Image(Picture),
}

#[derive(Clone, PartialEq, Message)]
struct Picture {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// Channels.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    /// PNG.
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

/// How far a run is that takes up its file: what lies behind is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    /// Steps of all epochs.
    pub steps: u64,
    /// Steps of those epochs that were tested, and end here.
    pub tested: u64,
}

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Takes the file up after `done`. No file, or one whose first record is none, is begun anew.
    pub fn open(path: &Path, done: Done) -> Result<Self, TrainError> {
        let failed = |source| io_error("write", path)(source);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let kept = kept_bytes(&file, done).map_err(failed)?;
        file.set_len(kept).map_err(failed)?;
        (&file).seek(SeekFrom::Start(kept)).map_err(failed)?;
        let mut events = Self { path: path.to_owned(), file };
        if kept == 0 {
            events.write(0, What::FileVersion(VERSION.to_owned()))?;
        }
        Ok(events)
    }

    /// Numbers after so many steps, by name.
    pub fn scalars(&mut self, step: u64, values: impl IntoIterator<Item = (String, f64)>) -> Result<(), TrainError> {
        let value = |(tag, value): (String, f64)| SummaryValue { tag, value: Some(Value::Simple(value as f32)) };
        self.write(step, What::Summary(Summary { value: values.into_iter().map(value).collect() }))
    }

    /// A picture after so many steps.
    pub fn picture(&mut self, step: u64, tag: String, picture: &RgbImage) -> Result<(), TrainError> {
        let mut png = io::Cursor::new(Vec::new());
        let written = picture.write_to(&mut png, ImageFormat::Png);
        written.map_err(|error| io_error("write", &self.path)(io::Error::other(error)))?;
        let (height, width) = (picture.height() as i32, picture.width() as i32);
        let value = Value::Image(Picture { height, width, colorspace: 3, encoded: png.into_inner() });
        self.write(step, What::Summary(Summary { value: vec![SummaryValue { tag, value: Some(value) }] }))
    }

    fn write(&mut self, step: u64, what: What) -> Result<(), TrainError> {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let event = EventProto { wall_time, step: step as i64, what: Some(what) };
        self.file.write_all(&framed(&event.encode_to_vec())).map_err(io_error("write", &self.path))
    }
}

/// Length, its checksum, the data, their checksum; little-endian.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()].concat()
}

/// TFRecord's checksum: CRC-32C, rotated and shifted so that checksums of checksums are no trap.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The length of the file's beginning that is whole and belongs to what is done.
fn kept_bytes(file: &File, done: Done) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut kept = 0;
    while let Some(data) = record(&mut reader)? {
        let Ok(event) = EventProto::decode(&data[..]) else { break };
        let begins = matches!(event.what, Some(What::FileVersion(_)));
        let summary = match &event.what {
            Some(What::Summary(summary)) => &summary.value[..],
            _ => &[],
        };
        let of_test = summary.iter().any(|value| value.tag.starts_with(OF_TESTS));
        let most = if of_test { done.tested } else { done.steps };
        if begins != (kept == 0) || event.step < 0 || event.step as u64 > most {
            break;
        }
        kept += (data.len() + 16) as u64;
    }
    Ok(kept)
}

/// The next record's data; None at the end, and where what follows is no whole record.
fn record(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    reader.by_ref().take(12).read_to_end(&mut head)?;
    let (Some(length), Some(check)) = (head.first_chunk::<8>(), head.last_chunk::<4>()) else { return Ok(None) };
    if head.len() != 12 || masked(length) != u32::from_le_bytes(*check) {
        return Ok(None);
    }
    let length = u64::from_le_bytes(*length);
    if length > MAX_RECORD {
        return Ok(None);
    }
    let mut data = Vec::new();
    reader.by_ref().take(length + 4).read_to_end(&mut data)?;
    let Some((body, check)) = data.split_last_chunk::<4>() else { return Ok(None) };
    if body.len() as u64 != length || masked(body) != u32::from_le_bytes(*check) {
        return Ok(None);
    }
    data.truncate(length as usize);
    Ok(Some(data))
}
