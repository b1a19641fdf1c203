//! Broken camera messages: each is rejected with its reason before a pixel is read, or read in a defined way; none
//! panics. Covers frames at the level of message fields; what the node counts and publishes is tested over rcl.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests

use looptrans_ros::perceive::decode::{DecodeNotes, Decoded, Limits, decode};
use looptrans_ros::perceive::{FrameError, Pixels, RejectReason};
use proptest::prelude::*;

const LIMITS: Limits = Limits { max_image_pixels: 1 << 16 };

/// A sound 4x2 rgb8 message; each test breaks one thing.
#[derive(Debug, Clone)]
struct Message {
    width: u32,
    height: u32,
    encoding: String,
    is_bigendian: bool,
    stride_bytes: u32,
    data: Vec<u8>,
}

impl Message {
    fn sound() -> Self {
        let data = (0..24).collect();
        Self { width: 4, height: 2, encoding: "rgb8".into(), is_bigendian: false, stride_bytes: 12, data }
    }

    fn pixels(&self) -> Pixels<'_> {
        let Self { width, height, is_bigendian, stride_bytes, .. } = *self;
        Pixels::Raw { width, height, encoding: &self.encoding, is_bigendian, stride_bytes, data: &self.data }
    }

    fn decode<T>(&self, then: impl FnOnce(Result<Decoded<'_>, FrameError>) -> T) -> T {
        then(decode(&self.pixels(), &LIMITS, &mut Vec::new()))
    }

    #[track_caller]
    fn assert_rejected(&self, reason: RejectReason, text: &str) {
        self.decode(|result| {
            let error = result.expect_err("must be rejected");
            assert_eq!(error.reason(), reason, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        });
    }
}

#[test]
fn the_sound_message_is_taken() {
    let message = Message::sound();
    message.decode(|result| assert_eq!(result.unwrap().image.data, message.data));
}

#[test]
fn width_or_height_zero_is_rejected() {
    for (width, height) in [(0, 2), (4, 0), (0, 0)] {
        let text = format!("width {width}, height {height}");
        Message { width, height, ..Message::sound() }.assert_rejected(RejectReason::BadImage, &text);
        let empty = Message { width, height, stride_bytes: 0, data: vec![], ..Message::sound() };
        empty.assert_rejected(RejectReason::BadImage, &text);
    }
}

#[test]
fn empty_and_short_data_are_rejected_with_both_lengths() {
    for len in [0, 1, 12, 23] {
        let message = Message { data: vec![1; len], ..Message::sound() };
        message.assert_rejected(RejectReason::BadImage, &format!("need 24 bytes, found {len}"));
    }
    // step * height, the last row's padding included.
    let message = Message { stride_bytes: 16, data: vec![1; 28], ..Message::sound() };
    message.assert_rejected(RejectReason::BadImage, "need 32 bytes, found 28");
}

#[test]
fn step_zero_is_taken_only_with_the_exact_length() {
    let message = Message { stride_bytes: 0, ..Message::sound() };
    message.decode(|result| {
        let decoded = result.unwrap();
        assert_eq!(decoded.image.data, message.data);
        assert_eq!(decoded.notes, DecodeNotes { stride_was_zero: true, extra_bytes: 0 });
    });
    for len in [0, 23, 25, 48] {
        let message = Message { stride_bytes: 0, data: vec![1; len], ..Message::sound() };
        message.assert_rejected(RejectReason::BadImage, "step is 0");
    }
}

#[test]
fn a_step_smaller_than_a_row_is_rejected() {
    for (encoding, row) in [("rgb8", 12), ("bgra8", 16), ("mono16", 8), ("uyvy", 8), ("nv21", 4), ("bayer_rggb8", 4)] {
        let message =
            Message { encoding: encoding.into(), stride_bytes: row - 1, data: vec![1; 1000], ..Message::sound() };
        message.assert_rejected(RejectReason::BadImage, &format!("4 pixels of {encoding} need {row} bytes"));
    }
}

#[test]
fn padded_rows_lose_their_padding() {
    let sound = Message::sound();
    let data = sound.data.chunks(12).flat_map(|row| [row, &[99; 4]].concat()).collect();
    let message = Message { stride_bytes: 16, data, ..sound.clone() };
    message.decode(|result| {
        let decoded = result.unwrap();
        assert_eq!(decoded.image.data, sound.data);
        assert_eq!(decoded.notes, DecodeNotes::default());
    });
}

/// introlab/rtabmap_ros issue 638 met this width.
#[test]
fn sizes_that_overflow_are_rejected() {
    let huge = [334_692_672, u32::MAX];
    for encoding in ["rgb8", "bgra8", "mono16", "mono8", "yuyv", "nv12", "nv24", "bayer_gbrg8"] {
        for (width, height) in huge.into_iter().flat_map(|w| [(w & !1, 2), (w & !1, u32::MAX), (2, w)]) {
            for stride_bytes in [0, 12, 1 << 31, u32::MAX] {
                let encoding = encoding.into();
                let message = Message { width, height, encoding, stride_bytes, ..Message::sound() };
                message.assert_rejected(RejectReason::BadImage, "");
            }
        }
    }
}

#[test]
fn bytes_behind_the_last_row_are_not_read_and_noted() {
    let mut message = Message::sound();
    message.data.extend([77; 5]);
    message.decode(|result| {
        let decoded = result.unwrap();
        assert_eq!(decoded.image.data, &message.data[..24]);
        assert_eq!(decoded.notes, DecodeNotes { stride_was_zero: false, extra_bytes: 5 });
    });
}

#[test]
fn unknown_and_empty_encodings_are_rejected_by_name() {
    for encoding in ["", "yuv420", "32FC1", "16UC1", "RGB8"] {
        let message = Message { encoding: encoding.into(), ..Message::sound() };
        message.assert_rejected(RejectReason::Encoding, &format!("{encoding:?}; taken are: rgb8 bgr8"));
    }
}

#[test]
fn a_4_2_2_picture_of_odd_width_is_rejected() {
    for encoding in ["yuv422", "yuv422_yuy2", "uyvy", "yuyv"] {
        let encoding = encoding.into();
        let message = Message { width: 3, encoding, stride_bytes: 8, data: vec![1; 16], ..Message::sound() };
        message.assert_rejected(RejectReason::BadImage, "an even width, found 3x2");
    }
}

#[test]
fn a_mosaic_smaller_than_its_pattern_is_rejected() {
    for (width, height) in [(1, 2), (2, 1), (1, 1)] {
        let encoding = "bayer_bggr8".into();
        let message = Message { width, height, encoding, ..Message::sound() };
        message.assert_rejected(RejectReason::BadImage, "at least 2x2 pixels");
    }
}

#[test]
fn more_pixels_than_the_limit_are_rejected_and_the_limit_itself_is_taken() {
    let of_width = |width: u32| Message {
        width,
        height: 256,
        encoding: "mono8".into(),
        stride_bytes: width,
        data: vec![3; 256 * width as usize],
        ..Message::sound()
    };
    of_width(256).decode(|result| assert_eq!(result.unwrap().image.data.len(), 3 << 16));
    of_width(257).assert_rejected(RejectReason::TooLarge, "257x256 is more than max_image_pixels = 65536");
}

#[test]
fn size_and_encoding_may_change_from_frame_to_frame() {
    let mut buffer = Vec::new();
    let bgr = Message { encoding: "bgr8".into(), ..Message::sound() };
    let small =
        Message { width: 2, height: 1, encoding: "mono8".into(), stride_bytes: 2, data: vec![5, 6], ..bgr.clone() };
    let broken = Message { data: vec![], ..bgr.clone() };
    for _ in 0..2 {
        assert_eq!(decode(&bgr.pixels(), &LIMITS, &mut buffer).unwrap().image.data[..3], [2, 1, 0]);
        assert!(decode(&broken.pixels(), &LIMITS, &mut buffer).is_err());
        assert_eq!(decode(&small.pixels(), &LIMITS, &mut buffer).unwrap().image.data, [5, 5, 5, 6, 6, 6]);
    }
}

#[test]
fn what_is_neither_jpeg_nor_png_is_rejected_with_its_first_bytes() {
    let files: [&[u8]; 5] = [b"", b"\xff", b"GIF89a....", b"\x89PNG", b"RIFF\x00\x00\x00\x00WEBPVP8 "];
    for data in files {
        let error = decode(&Pixels::Compressed { format: "jpeg", data }, &LIMITS, &mut Vec::new()).unwrap_err();
        assert_eq!(error.reason(), RejectReason::Encoding);
        assert!(error.to_string().contains(&format!("{} bytes", data.len())), "{error}");
    }
}

/// A sound file with some bytes overwritten.
fn damaged_file() -> impl Strategy<Value = Vec<u8>> {
    let jpegs = ["420", "progressive", "restart", "grey", "cmyk", "turned"];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pictures");
    let mut files: Vec<Vec<u8>> =
        jpegs.iter().map(|name| std::fs::read(folder.join(format!("{name}.jpg"))).unwrap()).collect();
    let picture = image::RgbaImage::from_fn(9, 7, |x, y| image::Rgba([x as u8 * 9, y as u8 * 20, 3, 200]));
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    files.push(png.into_inner());
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12);
    (prop::sample::select(files), edits, any::<prop::sample::Index>()).prop_map(|(mut file, edits, cut)| {
        for (at, byte) in edits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.truncate(1 + cut.index(2 * file.len()));
        file
    })
}

/// Sizes and steps near each other's limits, so that some messages are sound.
fn any_message() -> impl Strategy<Value = Message> {
    let encodings: Vec<String> =
        looptrans_ros::perceive::Encoding::names().chain(["", "32FC1"]).map(Into::into).collect();
    let size = prop_oneof![8 => 0..70u32, 1 => any::<u32>()];
    (size.clone(), size, prop::sample::select(encodings), any::<bool>(), 0..5u32, 0..9u32, 0..3u32, any::<u32>())
        .prop_map(|(width, height, encoding, is_bigendian, bytes, padding, planes, seed)| {
            let stride_bytes = width.wrapping_mul(bytes).wrapping_add(padding);
            let rows = u64::from(height) * u64::from(planes + 1);
            let len = (u64::from(stride_bytes).saturating_mul(rows)).min(1 << 16) as u32 / (1 + planes % 2);
            let data = (0..len).map(|i| (i.wrapping_mul(seed) >> 7) as u8).collect();
            Message { width, height, encoding, is_bigendian, stride_bytes, data }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_raw_message_is_rejected_or_gives_every_pixel(message in any_message()) {
        let mut buffer = Vec::new();
        if let Ok(decoded) = decode(&message.pixels(), &LIMITS, &mut buffer) {
            let pixels = message.width as usize * message.height as usize;
            prop_assert_eq!(decoded.image.data.len(), 3 * pixels);
            prop_assert_eq!((decoded.image.size.width, decoded.image.size.height), (message.width, message.height));
        }
    }

    #[test]
    fn any_damaged_file_is_rejected_or_gives_every_pixel(data in damaged_file()) {
        let mut buffer = Vec::new();
        if let Ok(decoded) = decode(&Pixels::Compressed { format: "", data: &data }, &LIMITS, &mut buffer) {
            let size = decoded.image.size;
            prop_assert_eq!(decoded.image.data.len(), 3 * size.width as usize * size.height as usize);
        }
    }
}
