//! Depth images: units by encoding, padding, byte order, and what is refused.

use looptrans_ros::{
    contract::Size,
    perceive::{
        FrameError, Pixels,
        depth::{DepthError, DepthImage},
    },
};
use proptest::prelude::*;

const MAX_PIXELS: u64 = 1 << 20;

/// A message of 2 x 2 pixels, to be spoiled.
#[derive(Clone, Copy)]
struct Message<'a> {
    width: u32,
    height: u32,
    encoding: &'a str,
    is_bigendian: bool,
    stride_bytes: u32,
    data: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(self) -> Result<DepthImage<'a>, DepthError> {
        let Self { width, height, encoding, is_bigendian, stride_bytes, data } = self;
        DepthImage::new(&Pixels::Raw { width, height, encoding, is_bigendian, stride_bytes, data }, MAX_PIXELS)
    }
}

fn of<'a>(encoding: &'static str, stride_bytes: u32, data: &'a [u8]) -> Message<'a> {
    Message { width: 2, height: 2, encoding, is_bigendian: false, stride_bytes, data }
}

fn all(image: &DepthImage<'_>) -> Vec<f32> {
    [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(x, y)| image.at(x, y)).to_vec()
}

#[test]
fn the_encoding_gives_the_unit_in_both_byte_orders_and_with_padding() {
    let values = [500_u16, 0, 65535, 1];
    let metres = [0.5, 65.535, 0.001];
    for (is_bigendian, bytes) in [(false, u16::to_le_bytes as fn(u16) -> [u8; 2]), (true, u16::to_be_bytes)] {
        for encoding in ["16UC1", "mono16"] {
            let rows: Vec<u8> = values
                .chunks(2)
                .flat_map(|row| [&row.iter().flat_map(|v| bytes(*v)).collect::<Vec<_>>()[..], &[7; 3]].concat())
                .collect();
            let message = Message { is_bigendian, ..of(encoding, 7, &rows) };
            let read = all(&message.read().unwrap());
            assert!((read[0] - metres[0]).abs() < 1e-6 && read[1].is_nan(), "{read:?}");
            assert!((read[2] - metres[1]).abs() < 1e-5 && (read[3] - metres[2]).abs() < 1e-9, "{read:?}");
        }
    }
    for (is_bigendian, bytes) in [(false, f32::to_le_bytes as fn(f32) -> [u8; 4]), (true, f32::to_be_bytes)] {
        let data: Vec<u8> = [0.25_f32, 1.5, 3.0, 0.75].iter().flat_map(|v| bytes(*v)).collect();
        let message = Message { is_bigendian, ..of("32FC1", 8, &data) };
        assert_eq!(all(&message.read().unwrap()), [0.25, 1.5, 3.0, 0.75]);
    }
}

#[test]
fn what_is_no_depth_is_nan_and_too_far_is_infinite() {
    let odd = [f32::NAN, f32::NEG_INFINITY, -1.0, -0.0];
    let data: Vec<u8> = odd.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert!(all(&of("32FC1", 8, &data).read().unwrap()).iter().all(|depth| depth.is_nan()));
    let data: Vec<u8> = [f32::INFINITY; 4].iter().flat_map(|v| v.to_le_bytes()).collect();
    let image = of("32FC1", 8, &data).read().unwrap();
    assert_eq!(all(&image), [f32::INFINITY; 4]);
    assert!(image.at(2, 0).is_nan() && image.at(0, 2).is_nan() && image.at(u32::MAX, u32::MAX).is_nan());
}

#[test]
fn messages_that_contradict_themselves_are_refused() {
    let data = [0_u8; 16];
    let sound = of("32FC1", 8, &data);
    assert!(sound.read().is_ok());
    let refused = |message: Message<'_>| match message.read().unwrap_err() {
        DepthError::Image(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(refused(Message { width: 0, ..sound }), FrameError::ZeroSize { .. }));
    assert!(matches!(refused(Message { stride_bytes: 7, ..sound }), FrameError::StrideTooSmall { .. }));
    assert!(matches!(refused(Message { data: &data[..15], ..sound }), FrameError::DataTooShort { .. }));
    assert!(matches!(refused(Message { data: &[], ..sound }), FrameError::DataTooShort { .. }));
    assert!(matches!(refused(Message { stride_bytes: 0, data: &data[..12], ..sound }), FrameError::StrideZero { .. }));
    assert!(Message { stride_bytes: 0, ..sound }.read().is_ok());
    let vast = Message { width: u32::MAX, height: u32::MAX, stride_bytes: u32::MAX, ..sound };
    assert!(matches!(refused(vast), FrameError::TooLarge { .. }));
    for encoding in ["rgb8", "64FC1", "16SC1", "", "32FC1\0", "mono8"] {
        let error = Message { encoding, ..sound }.read().unwrap_err().to_string();
        assert!(error.contains("16UC1") && error.contains(&format!("{encoding:?}")), "{error}");
    }
    let compressed = Pixels::Compressed { format: "16UC1; compressedDepth png", data: &data };
    assert!(matches!(DepthImage::new(&compressed, MAX_PIXELS), Err(DepthError::Encoding { .. })));
}

fn uniform(metres: f32, size: Size) -> Vec<u8> {
    metres.to_le_bytes().repeat((size.width * size.height) as usize)
}

#[test]
fn millimetres_in_an_image_of_metres_are_recognised() {
    let size = Size { height: 120, width: 160 };
    let check = |data: &[u8]| {
        let message = Message { width: 160, height: 120, ..of("32FC1", 640, data) };
        message.read().unwrap().check_values(0.1, 5.0)
    };
    assert_eq!(check(&uniform(0.6, size)), Ok(()));
    let error = check(&uniform(600.0, size)).unwrap_err();
    assert!(error.to_string().contains("looks like millimetres"), "{error}");
    // Some pixels of nonsense are none of it.
    let mut mostly = uniform(0.6, size);
    mostly[..4000].copy_from_slice(&uniform(600.0, size)[..4000]);
    assert_eq!(check(&mostly), Ok(()));
    for nothing in [f32::NAN, 0.0, f32::INFINITY, 0.05, 7.0] {
        assert!(matches!(check(&uniform(nothing, size)), Err(DepthError::NoValidPixel { .. })), "{nothing}");
    }
    // A single valid pixel is found wherever it is.
    for at in [0, 4321, 160 * 120 - 1] {
        let mut single = uniform(f32::NAN, size);
        single[4 * at..4 * at + 4].copy_from_slice(&0.6_f32.to_le_bytes());
        assert_eq!(check(&single), Ok(()), "{at}");
    }
}

proptest! {
    #[test]
    fn any_message_is_refused_or_read_within_its_bounds(
        width in prop_oneof![0..40_u32, any::<u32>()],
        height in prop_oneof![0..40_u32, any::<u32>()],
        stride_bytes in prop_oneof![0..200_u32, any::<u32>()],
        encoding in prop_oneof![Just("16UC1"), Just("32FC1"), Just("mono16"), Just("rgb8")],
        is_bigendian in any::<bool>(),
        data in proptest::collection::vec(any::<u8>(), 0..4000),
    ) {
        let message = Message { width, height, encoding, is_bigendian, stride_bytes, data: &data };
        if let Ok(image) = message.read() {
            prop_assert!(u64::from(width) * u64::from(height) <= data.len() as u64);
            for (x, y) in [(0, 0), (width - 1, height - 1), (width, height), (u32::MAX, 0)] {
                let depth = image.at(x, y);
                prop_assert!(depth.is_nan() || depth > 0.0);
            }
            let _ = image.check_values(0.1, 5.0);
        }
    }
}
