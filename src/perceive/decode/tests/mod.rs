//! Every encoding against numbers of OpenCV or a plain definition, tight and padded. What is rejected, and why, is in
//! tests/bad_images.rs.

mod codec;

use super::*;

const LIMITS: Limits = Limits { max_image_pixels: 1 << 20 };

/// The rule the pictures are made by.
fn colour(x: u32, y: u32) -> [u8; 3] {
    [(x * 7 + y * 13) as u8, (x * 31 + y * y + 50) as u8, (x * x + y * 3 + 100) as u8]
}

fn picture(size: Size) -> Vec<u8> {
    (0..size.height).flat_map(|y| (0..size.width).flat_map(move |x| colour(x, y))).collect()
}

/// Rows of `row` bytes with `padding` bytes of rubbish behind each.
fn padded(tight: &[u8], row: usize, padding: usize) -> Vec<u8> {
    tight.chunks(row).flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0xa5, padding))).collect()
}

fn raw<'a>(encoding: &'a str, size: Size, stride: usize, data: &'a [u8]) -> Pixels<'a> {
    Pixels::Raw {
        width: size.width,
        height: size.height,
        encoding,
        is_bigendian: false,
        stride_bytes: stride as u32,
        data,
    }
}

fn rgb_of(pixels: &Pixels<'_>) -> Vec<u8> {
    let mut buffer = vec![0x5a; 17];
    let decoded = decode(pixels, &LIMITS, &mut buffer).unwrap();
    assert_eq!(decoded.notes, DecodeNotes::default());
    assert_eq!(decoded.image.data.len(), 3 * (decoded.image.size.width * decoded.image.size.height) as usize);
    decoded.image.data.to_vec()
}

#[track_caller]
fn assert_near(found: &[u8], expected: &[u8], tolerance: u8) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= tolerance, "off by {worst}:\n{found:?}\n{expected:?}");
}

#[test]
fn packed_encodings_give_the_same_picture_tight_and_padded() {
    for size in [(1, 1), (5, 3), (64, 2), (131, 7)].map(|(width, height)| Size { height, width }) {
        let rgb = picture(size);
        let with = |channels: fn(&[u8]) -> Vec<u8>| rgb.chunks(3).flat_map(channels).collect::<Vec<u8>>();
        for (encoding, bytes_per_pixel, data) in [
            ("rgb8", 3, rgb.clone()),
            ("bgr8", 3, with(|p| vec![p[2], p[1], p[0]])),
            ("8UC3", 3, with(|p| vec![p[2], p[1], p[0]])),
            ("rgba8", 4, with(|p| vec![p[0], p[1], p[2], 0])),
            ("bgra8", 4, with(|p| vec![p[2], p[1], p[0], 9])),
            ("8UC4", 4, with(|p| vec![p[2], p[1], p[0], 255])),
        ] {
            let row = bytes_per_pixel * size.width as usize;
            assert_eq!(rgb_of(&raw(encoding, size, row, &data)), rgb, "{encoding}");
            assert_eq!(rgb_of(&raw(encoding, size, row + 5, &padded(&data, row, 5))), rgb, "{encoding} padded");
        }
    }
}

#[test]
fn tight_rgb8_is_borrowed_from_the_message() {
    let size = Size { height: 2, width: 3 };
    let data = picture(size);
    let mut buffer = Vec::new();
    let decoded = decode(&raw("rgb8", size, 9, &data), &LIMITS, &mut buffer).unwrap();
    assert_eq!(decoded.image.data.as_ptr(), data.as_ptr());
    assert_eq!(buffer.capacity(), 0);
}

#[test]
fn a_buffer_is_reused_when_the_size_changes() {
    let mut buffer = Vec::new();
    for (width, height) in [(8, 8), (3, 2), (16, 4), (1, 1)] {
        let size = Size { height, width };
        let grey: Vec<u8> = (0..(width * height) as u8).collect();
        let decoded = decode(&raw("mono8", size, width as usize, &grey), &LIMITS, &mut buffer).unwrap();
        let expected: Vec<u8> = grey.iter().flat_map(|&level| [level; 3]).collect();
        assert_eq!((decoded.image.size, decoded.image.data), (size, &expected[..]));
    }
}

#[test]
fn grey_is_spread_over_three_channels() {
    let size = Size { height: 2, width: 2 };
    let expected = [0u8, 0, 0, 10, 10, 10, 200, 200, 200, 255, 255, 255];
    assert_eq!(rgb_of(&raw("mono8", size, 2, &[0, 10, 200, 255])), expected);
    assert_eq!(rgb_of(&raw("8UC1", size, 3, &[0, 10, 99, 200, 255, 99])), expected);
}

#[test]
fn sixteen_bit_grey_is_scaled_and_rounded_in_both_byte_orders() {
    let levels = [0u16, 128, 129, 0x1234, 65406, 65535];
    let expected: Vec<u8> = levels.iter().flat_map(|&l| [(f64::from(l) * 255.0 / 65535.0).round() as u8; 3]).collect();
    assert_eq!(expected[3..9], [0, 0, 0, 1, 1, 1], "the rule rounds");
    for is_bigendian in [false, true] {
        let bytes = |l: &u16| if is_bigendian { l.to_be_bytes() } else { l.to_le_bytes() };
        let data: Vec<u8> = levels.iter().flat_map(bytes).chain([7, 7, 7]).collect();
        let pixels =
            Pixels::Raw { width: 6, height: 1, encoding: "mono16", is_bigendian, stride_bytes: 15, data: &data };
        assert_eq!(rgb_of(&pixels), expected, "big-endian: {is_bigendian}");
    }
}

#[test]
fn yuv_agrees_with_opencv() {
    // Made with opencv-python 5.0.0:
    //   uyvy = np.array([[[90,16],[240,81],[128,235],[128,145]],[[16,41],[110,200],[60,0],[200,255]]], np.uint8)
    //   cv2.cvtColor(uyvy, cv2.COLOR_YUV2RGB_UYVY)
    //   nv = np.array([[16,81,145,235],[41,200,0,255],[90,240,16,110]], np.uint8)
    //   cv2.cvtColor(nv, cv2.COLOR_YUV2RGB_NV12), cv2.cvtColor(nv, cv2.COLOR_YUV2RGB_NV21)
    let size = Size { height: 2, width: 4 };
    let uyvy = [90, 16, 240, 81, 128, 235, 128, 145, 16, 41, 110, 200, 60, 0, 200, 255];
    let yuyv: Vec<u8> = uyvy.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    let expected: [[u8; 12]; 2] =
        [[179, 0, 0, 254, 0, 0, 255, 255, 255, 150, 150, 150], [0, 88, 0, 185, 255, 0, 115, 0, 0, 255, 246, 141]];
    for (name, data) in [("uyvy", &uyvy[..]), ("yuv422", &uyvy), ("yuyv", &yuyv), ("yuv422_yuy2", &yuyv)] {
        assert_near(&rgb_of(&raw(name, size, 8, data)), expected.as_flattened(), 1);
        assert_near(&rgb_of(&raw(name, size, 11, &padded(data, 8, 3))), expected.as_flattened(), 1);
    }
    let planes = [16, 81, 145, 235, 41, 200, 0, 255, 90, 240, 16, 110];
    let nv12: [[u8; 12]; 2] =
        [[179, 0, 0, 254, 0, 0, 121, 209, 0, 226, 255, 29], [208, 0, 0, 255, 138, 137, 0, 58, 0, 249, 255, 52]];
    let nv21: [[u8; 12]; 2] =
        [[0, 0, 226, 15, 63, 255, 0, 248, 114, 76, 255, 219], [0, 16, 255, 154, 201, 255, 0, 98, 0, 99, 255, 242]];
    for (name, expected) in [("nv12", nv12), ("nv21", nv21)] {
        assert_near(&rgb_of(&raw(name, size, 4, &planes)), expected.as_flattened(), 1);
        assert_near(&rgb_of(&raw(name, size, 10, &padded(&planes, 4, 6))), expected.as_flattened(), 1);
    }
}

/// BT.601 of limited range in f64.
fn bt601([y, u, v]: [u8; 3]) -> [u8; 3] {
    let [y, u, v] = [y, u, v].map(f64::from);
    let luma = 1.164 * (y - 16.0).max(0.0);
    let (u, v) = (u - 128.0, v - 128.0);
    [luma + 1.596 * v, luma - 0.391 * u - 0.813 * v, luma + 2.018 * u].map(|c| c.round().clamp(0.0, 255.0) as u8)
}

#[test]
fn every_yuv_sample_is_within_one_level_of_the_equation() {
    let levels = || (0..=255u8).step_by(5);
    let samples: Vec<[u8; 3]> =
        levels().flat_map(|y| levels().flat_map(move |u| levels().map(move |v| [y, u, v]))).collect();
    let size = Size { height: 1, width: samples.len() as u32 };
    let luma = samples.iter().map(|s| s[0]);
    let data: Vec<u8> = luma.chain(samples.iter().flat_map(|s| [s[1], s[2]])).collect();
    let expected: Vec<u8> = samples.iter().copied().flat_map(bt601).collect();
    let mut buffer = Vec::new();
    let decoded = decode(&raw("nv24", size, samples.len(), &data), &LIMITS, &mut buffer).unwrap();
    assert_near(decoded.image.data, &expected, 1);
}

#[test]
fn planes_of_any_size_and_padding_are_found() {
    for (width, height) in [(1, 1), (2, 1), (5, 3), (64, 2), (67, 5), (130, 4)] {
        let size = Size { height, width };
        let (w, h) = (width as usize, height as usize);
        let luma: Vec<u8> = (0..w * h).map(|i| (i * 11 + 40) as u8).collect();
        let pair = |x: usize, y: usize| [(x * 9 + y * 40 + 60) as u8, (x * 5 + y * 21 + 90) as u8];
        for (name, shrink) in [("nv12", 2), ("nv21", 2), ("nv24", 1)] {
            let (cw, ch) = (w.div_ceil(shrink), h.div_ceil(shrink));
            let in_order = |[u, v]: [u8; 2]| if name == "nv21" { [v, u] } else { [u, v] };
            let chroma: Vec<u8> = (0..ch).flat_map(|y| (0..cw).flat_map(move |x| in_order(pair(x, y)))).collect();
            let expected: Vec<u8> = (0..w * h)
                .flat_map(|i| {
                    let [u, v] = pair(i % w / shrink, i / w / shrink);
                    bt601([luma[i], u, v])
                })
                .collect();
            let tight = [luma.clone(), chroma.clone()].concat();
            assert_near(&rgb_of(&raw(name, size, w, &tight)), &expected, 1);
            // The chroma plane's step is the message's, twice it for 4:4:4.
            let chroma_padding = (w + 7) * 2 / shrink - 2 * cw;
            let apart = [padded(&luma, w, 7), padded(&chroma, 2 * cw, chroma_padding)].concat();
            assert_near(&rgb_of(&raw(name, size, w + 7, &apart)), &expected, 1);
        }
    }
}

#[test]
fn bayer_agrees_with_opencv_inside_the_border() {
    // Made with opencv-python 5.0.0:
    //   y, x = np.mgrid[0:5, 0:6]
    //   b = ((x*37 + y*91 + x*y*13) % 256).astype(np.uint8)
    //   cv2.cvtColor(b, cv2.COLOR_BayerRGGB2RGB)[1:4, 1:5]     (and BGGR, GBRG, GRBG)
    let size = Size { height: 5, width: 6 };
    let mosaic: Vec<u8> = (0..5).flat_map(|y| (0..6).map(move |x| (x * 37 + y * 91 + x * y * 13) as u8)).collect();
    let rggb: [[u8; 12]; 3] = [
        [77, 141, 141, 63, 191, 191, 113, 113, 241, 163, 35, 163],
        [117, 245, 117, 52, 180, 180, 115, 115, 243, 178, 114, 178],
        [93, 157, 93, 41, 169, 169, 117, 117, 245, 193, 65, 193],
    ];
    let bggr: [[u8; 12]; 3] = [
        [141, 141, 77, 191, 191, 63, 241, 113, 113, 163, 35, 163],
        [117, 245, 117, 180, 180, 52, 243, 115, 115, 178, 114, 178],
        [93, 157, 93, 169, 169, 41, 245, 117, 117, 193, 65, 193],
    ];
    let gbrg: [[u8; 12]; 3] = [
        [141, 141, 141, 191, 127, 127, 113, 241, 113, 35, 163, 163],
        [117, 117, 245, 180, 52, 180, 115, 179, 115, 50, 178, 178],
        [93, 93, 221, 169, 105, 169, 117, 245, 117, 65, 193, 129],
    ];
    let grbg: [[u8; 12]; 3] = [
        [141, 141, 141, 127, 127, 191, 113, 241, 113, 163, 163, 35],
        [245, 117, 117, 180, 52, 180, 115, 179, 115, 178, 178, 50],
        [221, 93, 93, 169, 105, 169, 117, 245, 117, 129, 193, 65],
    ];
    for (name, expected) in [("bayer_rggb8", rggb), ("bayer_bggr8", bggr), ("bayer_gbrg8", gbrg), ("bayer_grbg8", grbg)]
    {
        for (stride, data) in [(6, mosaic.clone()), (8, padded(&mosaic, 6, 2))] {
            let rgb = rgb_of(&raw(name, size, stride, &data));
            let inside: Vec<u8> = (1..4).flat_map(|y| rgb[18 * y + 3..18 * y + 15].to_vec()).collect();
            assert_near(&inside, expected.as_flattened(), 0);
        }
    }
}

#[test]
fn bayer_of_any_size_equals_its_definition_to_the_border() {
    for (width, height) in [(2, 2), (3, 2), (2, 5), (67, 4), (131, 3)] {
        let size = Size { height, width };
        let (w, h) = (i64::from(width), i64::from(height));
        let mosaic: Vec<u8> = (0..h).flat_map(|y| (0..w).map(move |x| (x * 53 + y * 97 + x * x * 3) as u8)).collect();
        let mirror = |i: i64, len: i64| {
            if i < 0 {
                -i
            } else if i >= len {
                2 * (len - 1) - i
            } else {
                i
            }
        };
        for (name, red) in
            [("bayer_rggb8", (0, 0)), ("bayer_grbg8", (1, 0)), ("bayer_gbrg8", (0, 1)), ("bayer_bggr8", (1, 1))]
        {
            // Channel of a sample: red where both coordinates have red's parity, blue where neither has, else green.
            let channel =
                |x: i64, y: i64| (i64::from(x.rem_euclid(2) != red.0) + i64::from(y.rem_euclid(2) != red.1)) as usize;
            let mut expected = Vec::new();
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                for wanted in 0..3 {
                    // The nearest samples of a colour in a 3x3 neighbourhood, mirrored: the sample itself, or the four
                    // across for green, or those that are left or right, above or below, or diagonal.
                    let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)));
                    let of_colour: Vec<(i64, i64)> =
                        around.filter(|(dx, dy)| channel(x + dx, y + dy) == wanted).collect();
                    let nearest = of_colour.iter().map(|(dx, dy)| dx.abs() + dy.abs()).min().unwrap();
                    let values: Vec<u32> = of_colour
                        .iter()
                        .filter(|(dx, dy)| dx.abs() + dy.abs() == nearest)
                        .map(|(dx, dy)| u32::from(mosaic[(mirror(y + dy, h) * w + mirror(x + dx, w)) as usize]))
                        .collect();
                    let count = values.len() as u32;
                    expected.push(((values.iter().sum::<u32>() + count / 2) / count) as u8);
                }
            }
            assert_near(&rgb_of(&raw(name, size, width as usize, &mosaic)), &expected, 0);
        }
    }
}
