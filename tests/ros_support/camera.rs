//! Pictures as cameras send them. Written from the definitions of sensor_msgs/image_encodings.hpp and ITU-R BT.601,
//! apart from the code under test.

use std::{
    io::Cursor,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

pub const WIDTH: u32 = 96;
pub const HEIGHT: u32 = 64;
pub const FRAME_ID: &str = "camera_optical_frame";

/// Every raw encoding of colours; the mono ones are apart.
pub const COLOUR_ENCODINGS: &[&str] = &[
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    "yuv422",
    "yuv422_yuy2",
    "nv21",
    "nv24",
    "bayer_rggb8",
    "bayer_bggr8",
    "bayer_gbrg8",
    "bayer_grbg8",
];

/// Thirds of red, green and blue, from left to right, on a dim grey.
pub fn thirds() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, _| {
        let mut pixel = [40; 3];
        pixel[(3 * x / WIDTH) as usize] = 220;
        Rgb(pixel)
    })
}

/// The same at 640 x 480.
pub fn large_thirds() -> RgbImage {
    image::imageops::resize(&thirds(), 640, 480, image::imageops::FilterType::Nearest)
}

/// A stamp that no message of this program had before: now.
pub fn stamp() -> Value {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    let last = LAST.fetch_max(now, Ordering::SeqCst);
    let nanos = if last >= now { LAST.fetch_add(1, Ordering::SeqCst) + 1 } else { now };
    json!({"sec": nanos / 1_000_000_000, "nanosec": nanos % 1_000_000_000})
}

/// std_msgs/Header with a new stamp.
pub fn header() -> Value {
    json!({"stamp": stamp(), "frame_id": FRAME_ID})
}

/// A `uint8[]` for the peer.
pub fn bytes(data: &[u8]) -> Value {
    json!({"hex": data.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
}

/// A `uint8[]` from the peer.
pub fn from_bytes(value: &Value) -> Vec<u8> {
    let digits = value["hex"].as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// sensor_msgs/Image of a picture, each row (of the first plane) followed by `padding` bytes of rubbish.
pub fn image(picture: &RgbImage, encoding: &str, padding: usize) -> Value {
    let (row_bytes, mut rows) = rows(picture, encoding);
    // The second plane of nv21 has rows as long as the first's, that of nv24 rows of twice the length.
    for row in &mut rows {
        let rubbish = padding * (row.len() / row_bytes);
        row.extend(std::iter::repeat_n(0xA5, rubbish));
    }
    json!({
        "header": header(),
        "height": picture.height(),
        "width": picture.width(),
        "encoding": encoding,
        "is_bigendian": 0,
        "step": row_bytes + padding,
        "data": bytes(&rows.concat()),
    })
}

/// sensor_msgs/Image, mono16 in either byte order.
pub fn mono16(picture: &RgbImage, is_bigendian: bool) -> Value {
    let grey = |pixel: &Rgb<u8>| luma(pixel.0).round() as u16 * 257;
    let sample = |value: u16| if is_bigendian { value.to_be_bytes() } else { value.to_le_bytes() };
    let data: Vec<u8> = picture.pixels().flat_map(|pixel| sample(grey(pixel))).collect();
    json!({
        "header": header(),
        "height": picture.height(),
        "width": picture.width(),
        "encoding": "mono16",
        "is_bigendian": u8::from(is_bigendian),
        "step": 2 * picture.width(),
        "data": bytes(&data),
    })
}

/// sensor_msgs/CompressedImage.
pub fn compressed(picture: &RgbImage, format: ImageFormat, says: &str) -> Value {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    compressed_bytes(file.get_ref(), says)
}

/// sensor_msgs/CompressedImage of any bytes.
pub fn compressed_bytes(data: &[u8], says: &str) -> Value {
    json!({"header": header(), "format": says, "data": bytes(data)})
}

fn luma([r, g, b]: [u8; 3]) -> f32 {
    0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)
}

/// BT.601, limited range.
fn yuv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = [r, g, b].map(|c| f32::from(c) / 255.0);
    let y = 16.0 + 65.481 * r + 128.553 * g + 24.966 * b;
    let u = 128.0 - 37.797 * r - 74.203 * g + 112.0 * b;
    let v = 128.0 + 112.0 * r - 93.786 * g - 18.214 * b;
    [y, u, v].map(|c| c.round() as u8)
}

/// Bytes of a row of the first plane, and all rows.
fn rows(picture: &RgbImage, encoding: &str) -> (usize, Vec<Vec<u8>>) {
    let each = |convert: &dyn Fn(u32, u32, [u8; 3]) -> Vec<u8>| -> Vec<Vec<u8>> {
        let row = |y| (0..picture.width()).flat_map(|x| convert(x, y, picture.get_pixel(x, y).0)).collect();
        (0..picture.height()).map(row).collect()
    };
    // Chroma of a block of pixels is that of its top left one.
    let at = |x: u32, y: u32| yuv(picture.get_pixel(x, y).0);
    let luma_plane = || each(&|_, _, rgb| vec![yuv(rgb)[0]]);
    let rows = match encoding {
        "rgb8" => each(&|_, _, [r, g, b]| vec![r, g, b]),
        "bgr8" => each(&|_, _, [r, g, b]| vec![b, g, r]),
        "rgba8" => each(&|_, _, [r, g, b]| vec![r, g, b, 7]),
        "bgra8" => each(&|_, _, [r, g, b]| vec![b, g, r, 7]),
        "mono8" => each(&|_, _, rgb| vec![luma(rgb).round() as u8]),
        "yuv422" => each(&|x, y, rgb| vec![at(x & !1, y)[1 + (x & 1) as usize], yuv(rgb)[0]]),
        "yuv422_yuy2" => each(&|x, y, rgb| vec![yuv(rgb)[0], at(x & !1, y)[1 + (x & 1) as usize]]),
        "nv21" => {
            let chroma = |y| (0..picture.width() / 2).flat_map(|x| [at(2 * x, y)[2], at(2 * x, y)[1]]).collect();
            luma_plane().into_iter().chain((0..picture.height()).step_by(2).map(chroma)).collect()
        }
        "nv24" => {
            let chroma = |y| (0..picture.width()).flat_map(|x| [at(x, y)[1], at(x, y)[2]]).collect();
            luma_plane().into_iter().chain((0..picture.height()).map(chroma)).collect()
        }
        bayer => {
            let pattern = bayer.strip_prefix("bayer_").and_then(|name| name.strip_suffix('8')).unwrap().as_bytes();
            let channel = |x: u32, y: u32| match pattern[((y % 2) * 2 + x % 2) as usize] {
                b'r' => 0,
                b'g' => 1,
                _ => 2,
            };
            each(&|x, y, rgb| vec![rgb[channel(x, y)]])
        }
    };
    (rows[0].len(), rows)
}
