//! `image_decode`: pixels of every encoding, with sizes and steps that fit them nearly or not at all; JPEG and PNG files.

use arbitrary::{Arbitrary, Result, Unstructured};
use looptrans_ros::perceive::{
    Encoding, Pixels,
    decode::{Limits, decode},
};

const LIMITS: Limits = Limits { max_image_pixels: 1 << 16 };
/// What compressed pictures say of themselves.
const FORMATS: [&str; 4] = ["jpeg", "png", "rgb8; jpeg compressed bgr8", "rgb8; png compressed rgb8"];
/// Pixels that an input needs not hold: what it holds is repeated.
const MOST_REPEATED_BYTES: u64 = 1 << 18;

/// One byte says what the rest is: a raw picture of the encoding of that number, or a file.
pub fn image_decode(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let names: Vec<&str> = Encoding::names().collect();
    let Ok(kind) = input.arbitrary::<u8>() else { return };
    let kind = usize::from(kind) % (names.len() + FORMATS.len());
    match names.get(kind) {
        None => check(&Pixels::Compressed { format: FORMATS[kind - names.len()], data: input.take_rest() }),
        Some(encoding) => {
            let Ok(head) = input.arbitrary::<Head>() else { return };
            raw(encoding, &head, input.take_rest());
        }
    }
}

/// What a message says of its pixels.
#[derive(Debug)]
struct Head {
    width: u32,
    height: u32,
    is_bigendian: bool,
    step: Step,
    /// Are the bytes at hand repeated until they are enough?
    repeated: bool,
}

#[derive(Debug)]
enum Step {
    /// As many bytes as the row has, and some.
    Padded(u8),
    Zero,
    Any(u32),
}

impl<'a> Arbitrary<'a> for Head {
    /// From the front, byte by byte, so that seeds can be written by hand.
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let flags = input.arbitrary::<u8>()?;
        let mut side =
            || if flags & 1 == 0 { input.arbitrary::<u8>().map(u32::from) } else { input.arbitrary::<u32>() };
        let (width, height) = (side()?, side()?);
        let step = match flags >> 4 & 3 {
            0 => Step::Padded(0),
            1 => Step::Padded(input.arbitrary()?),
            2 => Step::Zero,
            _ => Step::Any(input.arbitrary()?),
        };
        Ok(Self { width, height, is_bigendian: flags & 2 != 0, step, repeated: flags & 4 != 0 })
    }
}

fn raw(encoding: &str, head: &Head, bytes: &[u8]) {
    let pixel_bytes: u32 = match encoding {
        "rgb8" | "bgr8" | "8UC3" => 3,
        "rgba8" | "bgra8" | "8UC4" => 4,
        "mono16" | "uyvy" | "yuyv" | "yuv422" | "yuv422_yuy2" => 2,
        _ => 1,
    };
    let row = head.width.saturating_mul(pixel_bytes);
    let stride_bytes = match head.step {
        Step::Padded(more) => row.saturating_add(more.into()),
        Step::Zero => 0,
        Step::Any(step) => step,
    };
    // nv24's second plane has twice the bytes of its first.
    let needed = (u64::from(stride_bytes.max(row)) * u64::from(head.height)).saturating_mul(3);
    let repeated: Vec<u8>;
    let data = if head.repeated && needed <= MOST_REPEATED_BYTES {
        repeated = bytes.iter().copied().cycle().take(needed as usize).collect();
        &repeated
    } else {
        bytes
    };
    let Head { width, height, is_bigendian, .. } = *head;
    check(&Pixels::Raw { width, height, encoding, is_bigendian, stride_bytes, data });
}

/// A picture has as many pixels as it says, and no more than the limit.
fn check(pixels: &Pixels<'_>) {
    let mut buffer = Vec::new();
    match decode(pixels, &LIMITS, &mut buffer) {
        Ok(decoded) => {
            let size = decoded.image.size;
            let count = u64::from(size.width) * u64::from(size.height);
            assert!((1..=LIMITS.max_image_pixels).contains(&count), "{size:?}");
            assert_eq!(decoded.image.data.len() as u64, 3 * count);
        }
        Err(error) => super::assert_readable(&error),
    }
}
