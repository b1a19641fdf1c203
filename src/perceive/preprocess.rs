//! RGB at source size to the network's input size.

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};

use super::{decode::RgbView, frame::FrameError};
use crate::contract::Size;

/// Stretches pictures to the network's input size, the evaluation protocol of LOCATE and LoopTrans (no crop, no
/// padding), with the triangle filter that Pillow calls bilinear: when shrinking, its support grows with the scale, so
/// that every source pixel counts. Within one level of Pillow's own result.
///
/// One picture in, the same picture out: training, evaluation and the robot all come through here.
pub struct Preprocessor {
    network: Size,
    resizer: Resizer,
    options: ResizeOptions,
    pixels: Vec<u8>,
}

impl Preprocessor {
    /// For a model with inputs of this size (the contract's `input`).
    pub fn new(network: Size) -> Self {
        Self {
            network,
            resizer: Resizer::new(),
            options: ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false),
            pixels: vec![0; 3 * network.height as usize * network.width as usize],
        }
    }

    /// u8 [h, w, 3] of any size -> u8 [H, W, 3] at network size, in a buffer kept from frame to frame. (Only the
    /// filter's weights are allocated anew, some bytes per row and column.)
    ///
    /// # Errors
    /// [`FrameError::Resize`] if the view's size and data do not belong together.
    pub fn run(&mut self, source: RgbView<'_>) -> Result<&[u8], FrameError> {
        let mut pixels = std::mem::take(&mut self.pixels);
        let resized = self.run_into(source, &mut pixels);
        self.pixels = pixels;
        resized.map(|()| self.pixels.as_slice())
    }

    /// [`Self::run`] into `pixels`, u8 [H, W, 3].
    ///
    /// # Errors
    /// As [`Self::run`]; or `pixels` is too short.
    pub fn run_into(&mut self, source: RgbView<'_>, pixels: &mut [u8]) -> Result<(), FrameError> {
        let Self { network, resizer, options, .. } = self;
        let failed = |cause: &dyn std::fmt::Display| FrameError::Resize { size: source.size, cause: cause.to_string() };
        let from = ImageRef::new(source.size.width, source.size.height, source.data, PixelType::U8x3)
            .map_err(|cause| failed(&cause))?;
        let mut to = Image::from_slice_u8(network.width, network.height, pixels, PixelType::U8x3)
            .map_err(|cause| failed(&cause))?;
        resizer.resize(&from, &mut to, &*options).map_err(|cause| failed(&cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule of the Python beside each expectation:
    ///   y, x, c = np.mgrid[0:h, 0:w, 0:3]
    ///   im = ((x*7 + y*13 + c*50 + x*y*3) % 256).astype(np.uint8)                    (Pillow 13.0.0)
    fn picture(height: u32, width: u32) -> Vec<u8> {
        let row = move |y: u32| {
            (0..width).flat_map(move |x| (0..3).map(move |c| (x * 7 + y * 13 + c * 50 + x * y * 3) as u8))
        };
        (0..height).flat_map(row).collect()
    }

    fn resized(height: u32, width: u32, network: Size) -> Vec<u8> {
        let source = picture(height, width);
        let view = RgbView { size: Size { height, width }, data: &source };
        Preprocessor::new(network).run(view).unwrap().to_vec()
    }

    #[track_caller]
    fn assert_within_one(found: &[u8], expected: &[u8]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 1), "{found:?}\n{expected:?}");
    }

    #[test]
    fn shrinking_equals_pillow() {
        // np.asarray(Image.fromarray(im).resize((5, 4), Image.BILINEAR)) with h, w = 29, 37
        let expected: [[[u8; 3]; 5]; 4] = [
            [[104, 138, 152], [130, 135, 129], [132, 132, 129], [132, 131, 123], [133, 125, 121]],
            [[134, 135, 123], [131, 127, 126], [134, 127, 127], [133, 127, 122], [128, 126, 127]],
            [[131, 126, 125], [131, 126, 130], [134, 127, 124], [132, 122, 124], [127, 125, 129]],
            [[130, 129, 129], [136, 127, 120], [135, 126, 122], [142, 124, 122], [131, 127, 123]],
        ];
        let found = resized(29, 37, Size { height: 4, width: 5 });
        assert_within_one(&found, expected.as_flattened().as_flattened());
    }

    #[test]
    fn enlarging_equals_pillow() {
        // np.asarray(Image.fromarray(im).resize((6, 5), Image.BILINEAR)) with h, w = 3, 4
        let expected: [[[u8; 3]; 6]; 5] = [
            [[0, 50, 100], [4, 54, 104], [8, 58, 108], [13, 63, 113], [18, 68, 118], [21, 71, 121]],
            [[5, 55, 105], [10, 60, 110], [15, 65, 115], [20, 70, 120], [26, 76, 126], [30, 80, 130]],
            [[13, 63, 113], [18, 68, 118], [25, 75, 125], [31, 81, 131], [38, 88, 138], [43, 93, 143]],
            [[21, 71, 121], [27, 77, 127], [35, 85, 135], [42, 92, 142], [51, 101, 151], [56, 106, 156]],
            [[26, 76, 126], [33, 83, 133], [41, 91, 141], [50, 100, 150], [59, 109, 159], [65, 115, 165]],
        ];
        let found = resized(3, 4, Size { height: 5, width: 6 });
        assert_within_one(&found, expected.as_flattened().as_flattened());
    }

    #[test]
    fn the_network_s_size_equals_pillow() {
        // r = np.asarray(Image.fromarray(im).resize((224, 224), Image.BILINEAR)) with h, w = 29, 37
        // r.astype(int).sum(axis=(0, 1)), r[100, 57], r[223, 0], r[31, 200]
        let found = resized(29, 37, Size { height: 224, width: 224 });
        for (channel, expected) in [6_544_026i64, 6_419_382, 6_342_398].into_iter().enumerate() {
            let sum: i64 = found.iter().skip(channel).step_by(3).map(|&level| i64::from(level)).sum();
            assert!((sum - expected).abs() <= 224 * 224 / 20, "channel {channel}: {sum}, Pillow {expected}");
        }
        let at = |y: usize, x: usize| &found[3 * (224 * y + x)..][..3];
        assert_within_one(
            &[at(100, 57), at(223, 0), at(31, 200)].concat(),
            &[51, 101, 151, 108, 158, 208, 113, 163, 121],
        );
    }

    #[test]
    fn the_network_s_own_size_is_copied() {
        assert_eq!(resized(9, 7, Size { height: 9, width: 7 }), picture(9, 7));
    }

    #[test]
    fn one_preprocessor_serves_sizes_in_any_order() {
        let mut preprocessor = Preprocessor::new(Size { height: 4, width: 5 });
        for (height, width) in [(29, 37), (3, 4), (1, 1), (29, 37)] {
            let source = picture(height, width);
            let found = preprocessor.run(RgbView { size: Size { height, width }, data: &source }).unwrap();
            assert_eq!(found, resized(height, width, Size { height: 4, width: 5 }));
        }
    }

    #[test]
    fn a_view_of_the_wrong_length_is_an_error() {
        let view = RgbView { size: Size { height: 2, width: 2 }, data: &[0; 11] };
        let error = Preprocessor::new(Size { height: 1, width: 1 }).run(view).unwrap_err();
        assert!(error.to_string().starts_with("cannot resize 2x2"), "{error}");
    }
}
