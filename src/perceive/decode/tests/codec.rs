//! JPEG and PNG of every kind that a camera or a folder of pictures may hold. The JPEG files are made by
//! tests/data/pictures/make.py.

use std::path::PathBuf;

use image::{DynamicImage, ImageFormat, RgbImage};

use crate::contract::Size;
use crate::perceive::decode::{DecodeNotes, Limits, decode};
use crate::perceive::frame::{Codec, FrameError, Pixels, RejectReason};
use crate::perceive::picture;

const LIMITS: Limits = Limits { max_image_pixels: 1 << 20 };
const WIDTH: u32 = 33;
const HEIGHT: u32 = 21;

/// The rule of make.py.
fn rgb() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| image::Rgb([(x * 7) as u8, (y * 11) as u8, ((x + y) * 4) as u8]))
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/pictures").join(name)
}

fn jpeg(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn png(picture: &DynamicImage) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

fn decode_as(format: &str, data: &[u8]) -> Result<(Size, Vec<u8>), FrameError> {
    let mut buffer = Vec::new();
    let decoded = decode(&Pixels::Compressed { format, data }, &LIMITS, &mut buffer)?;
    assert_eq!(decoded.notes, DecodeNotes::default());
    Ok((decoded.image.size, decoded.image.data.to_vec()))
}

fn mean_error(found: &[u8], expected: &[u8]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let sum: u64 = found.iter().zip(expected).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / found.len() as f64
}

#[test]
fn jpegs_of_every_sampling_and_mode_give_the_picture() {
    // Tolerances: the loss of quality 95, and of chroma at half resolution.
    for (name, tolerance) in [
        ("444.jpg", 1.5),
        ("422.jpg", 2.5),
        ("420.jpg", 3.0),
        ("progressive.jpg", 3.0),
        ("restart.jpg", 3.0),
        ("rgb.jpg", 1.5),
        ("turned.jpg", 1.5),
    ] {
        let (size, found) = decode_as("jpeg", &jpeg(name)).unwrap();
        assert_eq!(size, Size { height: HEIGHT, width: WIDTH }, "{name}: a topic's pixels are taken as stored");
        let error = mean_error(&found, &rgb());
        assert!(error < tolerance, "{name}: mean error {error}");
    }
}

#[test]
fn a_grey_jpeg_gives_three_equal_channels() {
    let (_, found) = decode_as("mono8; jpeg compressed ", &jpeg("grey.jpg")).unwrap();
    assert!(found.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
    // Grey as Pillow makes it: ITU-R BT.601 luma.
    let expected: Vec<u8> = rgb()
        .pixels()
        .flat_map(|p| [(0.299 * f64::from(p[0]) + 0.587 * f64::from(p[1]) + 0.114 * f64::from(p[2])).round() as u8; 3])
        .collect();
    assert!(mean_error(&found, &expected) < 1.5);
}

#[test]
fn a_cmyk_jpeg_is_refused_by_name() {
    let error = decode_as("jpeg", &jpeg("cmyk.jpg")).unwrap_err();
    assert_eq!(error.reason(), RejectReason::Encoding);
    assert!(error.to_string().contains("CMYK"), "{error}");
}

#[test]
fn bytes_behind_the_end_of_a_jpeg_do_no_harm() {
    let mut file = jpeg("420.jpg");
    let clean = decode_as("jpeg", &file).unwrap();
    file.extend([0; 100]);
    assert_eq!(decode_as("jpeg", &file).unwrap(), clean);
}

#[test]
fn pngs_of_every_colour_type_and_depth_are_right() {
    let rgb = DynamicImage::ImageRgb8(rgb());
    let exact: Vec<u8> = rgb.to_rgb8().into_raw();
    for picture in [
        rgb.clone(),
        DynamicImage::ImageRgba8(rgb.to_rgba8()),
        DynamicImage::ImageRgb16(rgb.to_rgb16()),
        DynamicImage::ImageRgba16(rgb.to_rgba16()),
    ] {
        let (size, found) = decode_as("png", &png(&picture)).unwrap();
        assert_eq!(size, Size { height: HEIGHT, width: WIDTH });
        assert!(found == exact, "{:?}", picture.color());
    }
    let grey = rgb.to_luma8();
    let exact: Vec<u8> = grey.iter().flat_map(|&level| [level; 3]).collect();
    for picture in [
        DynamicImage::ImageLuma8(grey.clone()),
        DynamicImage::ImageLumaA8(DynamicImage::ImageLuma8(grey.clone()).to_luma_alpha8()),
        DynamicImage::ImageLuma16(DynamicImage::ImageLuma8(grey).to_luma16()),
    ] {
        assert!(decode_as("png", &png(&picture)).unwrap().1 == exact, "{:?}", picture.color());
    }
}

#[test]
fn sixteen_bit_png_is_rounded_as_mono16_is() {
    let levels = image::ImageBuffer::from_raw(4, 1, vec![128u16, 129, 65406, 65535]).unwrap();
    let (_, found) = decode_as("mono16; png compressed ", &png(&DynamicImage::ImageLuma16(levels))).unwrap();
    assert_eq!(found, [0, 0, 0, 1, 1, 1, 254, 254, 254, 255, 255, 255]);
}

#[test]
fn palettes_and_single_bits_are_expanded() {
    let write = |colours, depth, palette: Option<Vec<u8>>, rows: &[u8]| {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 2, 2);
        encoder.set_color(colours);
        encoder.set_depth(depth);
        if let Some(palette) = palette {
            encoder.set_palette(palette);
            encoder.set_trns(vec![255u8, 0]);
        }
        encoder.write_header().unwrap().write_image_data(rows).unwrap();
        file
    };
    let palette = Some(vec![1, 2, 3, 40, 50, 60]);
    let file = write(png::ColorType::Indexed, png::BitDepth::Two, palette, &[0b0001_0000, 0b0100_0000]);
    assert_eq!(decode_as("png", &file).unwrap().1, [1, 2, 3, 40, 50, 60, 40, 50, 60, 1, 2, 3]);
    let file = write(png::ColorType::Grayscale, png::BitDepth::One, None, &[0b1000_0000, 0b0100_0000]);
    assert_eq!(decode_as("png", &file).unwrap().1, [255, 255, 255, 0, 0, 0, 0, 0, 0, 255, 255, 255]);
}

#[test]
fn the_bytes_decide_what_a_file_is_not_the_format_string() {
    let as_png = png(&DynamicImage::ImageRgb8(rgb()));
    assert_eq!(decode_as("jpeg", &as_png).unwrap().1, rgb().into_raw());
    assert_eq!(decode_as("", &as_png).unwrap().1, rgb().into_raw());
    assert!(decode_as("rgb8; png compressed bgr8", &jpeg("444.jpg")).is_ok());
}

#[test]
fn compressed_depth_is_refused_as_raw_depth_is() {
    let file = png(&DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(4, 3, image::Luma([700]))));
    assert!(decode_as("mono16; png compressed ", &file).is_ok());
    for encoding in ["16UC1", "32FC1"] {
        for format in ["; png compressed ", ";compressedDepth png", " ; png compressed mono16"] {
            let pixels =
                Pixels::Raw { width: 4, height: 3, encoding, is_bigendian: false, stride_bytes: 16, data: &[0; 48] };
            let raw = decode(&pixels, &LIMITS, &mut Vec::new()).unwrap_err();
            assert_eq!(decode_as(&format!("{encoding}{format}"), &file), Err(raw), "{format:?}");
        }
    }
}

/// compressed_image_transport hands OpenCV pixels of the order it names; OpenCV takes them for bgr8. So bgr8 gives a
/// file of true colours, rgb8 one with red and blue exchanged.
#[test]
fn the_format_string_says_whether_red_and_blue_are_exchanged() {
    let file = png(&DynamicImage::ImageRgb8(rgb()));
    let plain = rgb().into_raw();
    let exchanged: Vec<u8> = plain.chunks(3).flat_map(|p| [p[2], p[1], p[0]]).collect();
    for (format, expected) in [
        ("rgb8; png compressed bgr8", &plain),
        ("bgr8; png compressed bgr8", &plain),
        ("bgr8; png compressed ", &plain),
        ("png", &plain),
        ("rgb8", &plain),
        ("bgr8; jpeg compressed rgb8", &exchanged),
        ("rgb8; png compressed rgb8", &exchanged),
        ("rgb16; png compressed rgb16", &exchanged),
    ] {
        assert!(decode_as(format, &file).unwrap().1 == *expected, "{format:?}");
    }
}

#[test]
fn every_cut_of_a_file_is_rejected_as_damaged() {
    let png = png(&DynamicImage::ImageRgb8(rgb()));
    for (codec, file) in [
        (Codec::Jpeg, jpeg("420.jpg")),
        (Codec::Jpeg, jpeg("progressive.jpg")),
        (Codec::Jpeg, jpeg("restart.jpg")),
        (Codec::Png, png),
    ] {
        // From where the magic bytes are whole.
        for len in 8..file.len() - 1 {
            let error = decode_as("", &file[..len]).unwrap_err();
            assert!(matches!(&error, FrameError::Codec { codec: found, .. } if *found == codec), "{len}: {error}");
            assert!(!error.to_string().contains(char::is_control), "{len}: {error:?}");
        }
    }
}

/// Where the coded data of a baseline file with one scan begin.
fn scan_of(file: &[u8]) -> usize {
    let marker = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    marker + 2 + usize::from(file[marker + 3])
}

#[test]
fn a_baseline_jpeg_that_lacks_some_of_its_scan_is_rejected_though_it_ends_as_it_should() {
    for name in ["420.jpg", "444.jpg", "grey.jpg"] {
        let file = jpeg(name);
        let (scan, end) = (scan_of(&file), file.len() - 2);
        let third = (end - scan) / 3;
        for (what, kept) in [("all", 0), ("two thirds", third), ("a third", 2 * third)] {
            let cut = [&file[..scan + kept], &[0xff, 0xd9]].concat();
            let error = decode_as("", &cut).expect_err(what);
            assert_eq!(error.reason(), RejectReason::Codec, "{name} without {what}: {error}");
        }
        let hole = [&file[..scan + third], &file[scan + 2 * third..]].concat();
        assert!(decode_as("", &hole).is_err(), "{name} with a hole");
        let ended_early = [&file[..scan + third], &[0xff, 0xd9], &file[scan + third..]].concat();
        assert!(decode_as("", &ended_early).is_err(), "{name} with an end in its midst");
    }
}

#[test]
fn a_baseline_jpeg_with_a_scan_for_each_component_is_taken() {
    // Three times the scan of a grey file, as Y, Cb and Cr.
    let grey = jpeg("grey.jpg");
    let frame = grey.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let (scan, end) = (scan_of(&grey), grey.len() - 2);
    let header = scan - 10;
    // Of a frame of one component: length 11, its component in the last three bytes.
    let mut file = grey[..frame].to_vec();
    file.extend([0xff, 0xc0, 0, 17]);
    file.extend(&grey[frame + 4..frame + 9]);
    file.push(3);
    (1..=3).for_each(|component| file.extend([component, 0x11, 0]));
    file.extend(&grey[frame + 13..header]);
    for component in 1..=3 {
        file.extend([0xff, 0xda, 0, 8, 1, component, 0, 0, 63, 0]);
        file.extend(&grey[scan..end]);
    }
    let luma = decode_as("", &grey).unwrap().1;
    let levels = |file: &[u8]| decode_as("", &[file, &[0xff, 0xd9]].concat());
    // Green falls where both colour differences rise: Y - 0.344 (Cb - 128) - 0.714 (Cr - 128).
    for (found, grey) in levels(&file).unwrap().1.chunks(3).zip(luma.chunks(3)) {
        let level = f64::from(grey[0]);
        let green = (level - 1.058 * (level - 128.0)).clamp(0.0, 255.0);
        assert!((f64::from(found[1]) - green).abs() < 3.0, "{found:?} of {grey:?}");
    }
    assert!(levels(&file[..file.len() - 40]).is_err());
}

#[test]
fn a_picture_file_is_turned_upright() {
    let stored = picture::load(&path("444.jpg"), &LIMITS).unwrap();
    let upright = picture::load(&path("turned.jpg"), &LIMITS).unwrap();
    assert_eq!(upright, image::imageops::rotate90(&stored));
}

#[test]
fn a_picture_error_names_the_file_and_the_fault() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.png");
    std::fs::write(&text, "hello").unwrap();
    let error = |path: &std::path::Path| picture::load(path, &LIMITS).unwrap_err().to_string();
    assert!(error(&text).contains("notes.png: neither JPEG nor PNG: 5 bytes"), "{}", error(&text));
    assert!(error(folder.path()).contains("not a file"));
    assert!(error(&folder.path().join("absent.jpg")).contains("absent.jpg"));
    let small = Limits { max_image_pixels: 10 };
    assert!(picture::load(&path("444.jpg"), &small).unwrap_err().to_string().contains("max_image_pixels = 10"));
}
