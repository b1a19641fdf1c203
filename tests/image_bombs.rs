//! Small files that claim or unfold to huge ones. They must be rejected (or read, where only their ballast is huge)
//! with next to no memory. Its own program, since the allocator counts for the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests

use looptrans_ros::perceive::decode::{Limits, decode};
use looptrans_ros::perceive::{FrameError, Pixels, RejectReason};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The parameter's default: 8K.
const LIMITS: Limits = Limits { max_image_pixels: 33_177_600 };

/// Decodes and reports how many bytes the heap grew by at its highest.
fn peak_bytes(data: &[u8]) -> (Result<usize, FrameError>, usize) {
    let _profiler = dhat::Profiler::builder().testing().build();
    let mut buffer = Vec::new();
    let result = decode(&Pixels::Compressed { format: "", data }, &LIMITS, &mut buffer);
    let result = result.map(|decoded| decoded.image.data.len());
    (result, dhat::HeapStats::get().max_bytes)
}

/// A PNG chunk with its checksum.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    let crc = !body.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    });
    [&(data.len() as u32).to_be_bytes(), &body[..], &crc.to_be_bytes()].concat()
}

/// A PNG of one black row per claimed size, as short as its header.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let empty_stream = [0x78, 0x9c, 0x03, 0, 0, 0, 0, 1];
    [b"\x89PNG\r\n\x1a\n", &chunk(b"IHDR", &header)[..], &chunk(b"IDAT", &empty_stream), &chunk(b"IEND", b"")].concat()
}

/// A 1x1 PNG with a text chunk that unfolds to 256 MiB.
fn png_with_text_bomb() -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 1, 1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.add_ztxt_chunk("Comment".into(), "a".repeat(256 << 20)).unwrap();
    encoder.write_header().unwrap().write_image_data(&[1, 2, 3]).unwrap();
    file
}

/// A baseline JPEG's headers with another size in its frame header.
fn jpeg_claiming(width: u16, height: u16) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pictures");
    let mut file = std::fs::read(folder.join("420.jpg")).unwrap();
    let frame_header = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    file[frame_header + 5..][..2].copy_from_slice(&height.to_be_bytes());
    file[frame_header + 7..][..2].copy_from_slice(&width.to_be_bytes());
    file
}

#[test]
fn bombs_cost_no_memory() {
    const MEBIBYTE: usize = 1 << 20;
    for file in [png_claiming(16_000, 16_000), png_claiming(0x7fff_ffff, 0x7fff_ffff), jpeg_claiming(65_535, 65_535)] {
        let (result, peak) = peak_bytes(&file);
        assert_eq!(result.unwrap_err().reason(), RejectReason::TooLarge);
        assert!(peak < MEBIBYTE, "{peak} bytes for a file of {}", file.len());
    }
    let file = png_with_text_bomb();
    let (result, peak) = peak_bytes(&file);
    assert_eq!(result.unwrap(), 3);
    assert!(peak < 2 * MEBIBYTE, "{peak} bytes for a file of {}", file.len());
    // An allowed size costs its pixels and not much more, even where the file then turns out to be empty.
    let (result, peak) = peak_bytes(&png_claiming(4000, 4000));
    assert_eq!(result.unwrap_err().reason(), RejectReason::Codec);
    assert!(peak < 3 * 16_000_000 + 2 * MEBIBYTE, "{peak} bytes");
}
