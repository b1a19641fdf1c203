//! TensorBoard's event file, read back by the format's description: framing, checksums and protobuf by hand.

use std::fs;

use looptrans_ros::train::run::Plan;

use super::support::{Fixture, SAMPLES};

const FILE: &str = "run/events.out.tfevents.looptrans";

/// CRC-32C bit by bit (Castagnoli, reflected), masked as TFRecord does.
fn masked_crc(data: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for &byte in data {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The data of every record; all checksums are right and nothing follows.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(12);
        assert_eq!(u32::from_le_bytes(head[8..].try_into().unwrap()), masked_crc(&head[..8]), "length");
        let (data, rest) = rest.split_at(u64::from_le_bytes(head[..8].try_into().unwrap()) as usize);
        let (check, rest) = rest.split_at(4);
        assert_eq!(u32::from_le_bytes(check.try_into().unwrap()), masked_crc(data), "data");
        records.push(data);
        bytes = rest;
    }
    records
}

/// Field number and contents (of numbers, their bytes).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            shift += 7;
            if first & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            5 => 4,
            2 => varint(&mut bytes) as usize,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        fields.push((key >> 3, value.to_vec()));
        bytes = rest;
    }
    fields
}

fn field(fields: &[(u64, Vec<u8>)], number: u64) -> Option<&[u8]> {
    fields.iter().find(|(found, _)| *found == number).map(|(_, value)| value.as_slice())
}

/// What one value of a summary is.
#[derive(Debug, PartialEq)]
enum Shown {
    Number(f32),
    /// Width and height of its PNG, which its header agrees with.
    Picture(u32, u32),
}

/// Step, tag and value of everything in the file, which begins with its version.
fn shown(fixture: &Fixture) -> Vec<(u64, String, Shown)> {
    let bytes = fixture.bytes(FILE);
    let records = records(&bytes);
    assert_eq!(field(&fields(records[0]), 3), Some(&b"brain.Event:2"[..]));
    let mut shown = Vec::new();
    for record in &records[1..] {
        let event = fields(record);
        assert!(f64::from_le_bytes(field(&event, 1).unwrap().try_into().unwrap()) > 1.7e9, "wall time");
        let step = field(&event, 2).map_or(0, |step| u64::from_le_bytes(step.try_into().unwrap()));
        for (_, value) in fields(field(&event, 5).unwrap()) {
            let value = fields(&value);
            let tag = String::from_utf8(field(&value, 1).unwrap().to_vec()).unwrap();
            let content = match (field(&value, 2), field(&value, 4)) {
                (Some(number), None) => Shown::Number(f32::from_le_bytes(number.try_into().unwrap())),
                (None, Some(picture)) => {
                    let picture = fields(picture);
                    let png = image::load_from_memory(field(&picture, 4).unwrap()).unwrap().to_rgb8();
                    let side = |number| u64::from_le_bytes(field(&picture, number).unwrap().try_into().unwrap()) as u32;
                    assert_eq!((side(1), side(2), side(3)), (png.height(), png.width(), 3));
                    Shown::Picture(png.width(), png.height())
                }
                other => panic!("{other:?}"),
            };
            shown.push((step, tag, content));
        }
    }
    shown
}

#[test]
fn tensorboard_gets_every_step_every_test_and_pictures_once_also_of_a_resumed_run() {
    let fixture = Fixture::new();
    let steps = SAMPLES.div_ceil(4) as u64;
    // Stopped before the test of the first epoch, and in the second.
    fixture.train(fixture.plan("run", &["save_every_steps=3"]).unwrap(), steps as usize).unwrap();
    let resume = || Plan::resume(&fixture.path("run"), None).unwrap();
    fixture.train(resume(), 2).unwrap();
    // Killed: what no checkpoint knows of, the last of it cut off.
    let whole = fixture.bytes(FILE);
    let checkpoint = fixture.bytes("run/last.safetensors");
    let outcome = fixture.train(resume(), usize::MAX).unwrap();
    let later = fixture.bytes(FILE);
    assert!(later.starts_with(&whole), "what was written stays");
    let expected = shown(&fixture);
    fs::write(fixture.path("run/last.safetensors"), checkpoint).unwrap();
    fs::write(fixture.path(FILE), &later[..later.len() - 7]).unwrap();
    fixture.train(resume(), usize::MAX).unwrap();
    let found = shown(&fixture);
    assert_eq!(found, expected, "the same file comes of it");

    let csv = String::from_utf8(fixture.bytes("run/metrics.csv")).unwrap();
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let of = |tag: &str| -> Vec<(u64, f32)> {
        let numbers = found.iter().filter(|(_, found, _)| found == tag);
        numbers
            .map(|(step, _, shown)| match shown {
                Shown::Number(number) => (*step, *number),
                Shown::Picture(..) => panic!("{tag}"),
            })
            .collect()
    };
    for (tag, column) in [("loss/mse", "mse"), ("loss/total", "total"), ("lr", "lr"), ("test/kld", "test_kld")] {
        let column = lines[0].iter().position(|name| *name == column).unwrap();
        let expected: Vec<(u64, f32)> = lines[1..]
            .iter()
            .filter(|line| !line[column].is_empty())
            .map(|line| {
                let [epoch, step] = [0, 1].map(|cell| line[cell].parse::<u64>().unwrap());
                ((epoch - 1) * steps + step, line[column].parse().unwrap())
            })
            .collect();
        assert_eq!(of(tag), expected, "{tag}");
        assert_eq!(expected.len(), if tag.starts_with("test") { 2 } else { 2 * steps as usize });
    }
    let last = outcome.state.scores[1].unwrap();
    assert_eq!(of("test/sim").last(), Some(&(2 * steps, last.sim as f32)));
    let pictures: Vec<_> = found.iter().filter(|(_, _, shown)| matches!(shown, Shown::Picture(..))).collect();
    assert_eq!(pictures.len(), 2 * 4, "four of each test");
    assert_eq!(pictures[0].2, Shown::Picture(3 * 176, 146));
    assert!(pictures[0].1.ends_with("cut knife"), "{}", pictures[0].1);
}

#[test]
fn a_damaged_event_file_is_begun_anew_or_cut_and_stops_nothing() {
    let fixture = Fixture::new();
    fixture.train(fixture.plan("run", &["epochs=1"]).unwrap(), usize::MAX).unwrap();
    let whole = fixture.bytes(FILE);
    for damaged in [b"no records".to_vec(), Vec::new(), [&whole[..40], &[0xff; 40]].concat(), vec![0xff; 4000]] {
        fs::write(fixture.path(FILE), damaged).unwrap();
        fixture.train(Plan::resume(&fixture.path("run"), Some(1)).unwrap(), usize::MAX).unwrap();
        assert_eq!(shown(&fixture), []);
    }
}
