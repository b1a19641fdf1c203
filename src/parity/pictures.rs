//! What is compared on: pictures drawn by rule, or a user's own.

use std::path::{Path, PathBuf};

use super::ParityError;
use crate::{
    contract::{PictureSource, Size},
    export::{precision::folder_pictures, seeded},
    perceive::{decode::Limits, picture, preprocess::Preprocessor},
};

/// Ellipses of a drawn picture.
const ELLIPSES: usize = 24;
/// Drawn numbers of an ellipse: centre, half axes, colour.
const NUMBERS: usize = 7;

/// A number of pictures at network size. Each is made when it is asked for.
#[derive(Debug, Clone)]
pub struct Pictures {
    size: Size,
    from: From,
}

#[derive(Debug, Clone)]
enum From {
    Rule { count: usize },
    Files { files: Vec<PathBuf>, limits: Limits },
}

impl Pictures {
    /// `count` pictures of coloured ellipses: large shapes, edges and overlaps, the same on every machine.
    pub fn drawn(count: usize, size: Size) -> Self {
        Self { size, from: From::Rule { count } }
    }

    /// At most `count` of a folder's pictures, by [`folder_pictures`].
    ///
    /// # Errors
    /// The folder can't be read, or has none.
    pub fn from_folder(folder: &Path, count: usize, size: Size, limits: Limits) -> Result<Self, ParityError> {
        // Decoded once more when it is asked for: thousands of them are too much to keep.
        let load = |file: &Path| picture::load(file, &limits).map(|_| file.to_owned());
        let found = folder_pictures(folder, count, load);
        let (files, _) = found.map_err(|source| ParityError::Folder { path: folder.to_owned(), source })?;
        if files.is_empty() {
            return Err(ParityError::NoPictures { path: folder.to_owned() });
        }
        Ok(Self { size, from: From::Files { files, limits } })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        match &self.from {
            From::Rule { count } => *count,
            From::Files { files, .. } => files.len(),
        }
    }

    /// Where they come from.
    pub fn source(&self) -> PictureSource {
        match self.from {
            From::Rule { .. } => PictureSource::Drawn,
            From::Files { .. } => PictureSource::Folder,
        }
    }

    /// Each picture, u8 [H, W, 3] RGB.
    pub fn iter(&self) -> impl Iterator<Item = Result<Vec<u8>, ParityError>> + '_ {
        let mut preprocessor = Preprocessor::new(self.size);
        (0..self.count()).map(move |index| match &self.from {
            From::Rule { .. } => Ok(draw(index, self.size)),
            From::Files { files, limits } => Ok(picture::load_for(&files[index], limits, &mut preprocessor)?),
        })
    }
}

fn draw(index: usize, size: Size) -> Vec<u8> {
    let numbers: Vec<f32> = seeded::uniform(&format!("picture.{index}"), NUMBERS * (ELLIPSES + 1)).collect();
    let level = |number: f32| ((number + 1.0) * 127.99) as u8;
    let mut shapes = numbers.chunks_exact(NUMBERS);
    let ground = shapes.next().unwrap_or(&[0.0; NUMBERS]);
    let mut pixels = Vec::with_capacity(3 * size.height as usize * size.width as usize);
    for row in 0..size.height {
        for column in 0..size.width {
            // Both in [-1, 1].
            let place = |index: u32, side: u32| (index as f32 + 0.5) / side as f32 * 2.0 - 1.0;
            let (x, y) = (place(column, size.width), place(row, size.height));
            // The last shape that covers the pixel is on top; behind them all, a gradient.
            let covers = |shape: &&[f32]| {
                let (dx, dy) = ((x - shape[0]) / half_axis(shape[2]), (y - shape[1]) / half_axis(shape[3]));
                dx * dx + dy * dy < 1.0
            };
            match shapes.clone().rev().find(covers) {
                Some(shape) => pixels.extend(shape[4..].iter().copied().map(level)),
                None => pixels.extend([0, 1, 2].map(|c| level((ground[c] * x + ground[c + 3] * y) / 2.0))),
            }
        }
    }
    pixels
}

/// From a draw in [-1, 1): 0.05 to 0.45 of the picture's half side.
fn half_axis(draw: f32) -> f32 {
    0.25 + 0.2 * draw
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_image_pixels: 1000 };
    const SIZE: Size = Size { height: 48, width: 64 };

    #[test]
    fn drawn_pictures_are_colourful_and_all_different() {
        let pictures: Vec<Vec<u8>> = Pictures::drawn(3, SIZE).iter().map(Result::unwrap).collect();
        for (index, picture) in pictures.iter().enumerate() {
            assert_eq!(picture.len(), 48 * 64 * 3);
            let (least, most) = (picture.iter().min().unwrap(), picture.iter().max().unwrap());
            assert!(most - least > 100, "{least} to {most}");
            assert!(!pictures[..index].contains(picture));
        }
    }

    #[test]
    fn a_folder_gives_its_pictures_at_network_size_evenly_spread() {
        let folder = tempfile::tempdir().unwrap();
        for level in 0..9_u8 {
            let picture = image::RgbImage::from_pixel(10, 7, image::Rgb([10 * level; 3]));
            picture.save(folder.path().join(format!("{level}.png"))).unwrap();
        }
        // What stands in the way of a picture is passed over: its name's place goes to the next.
        std::fs::write(folder.path().join("0.jpg"), "no picture").unwrap();
        std::fs::write(folder.path().join("._5.png"), "of another system").unwrap();
        std::fs::create_dir(folder.path().join("x.png")).unwrap();
        let levels = |count| {
            let pictures = Pictures::from_folder(folder.path(), count, SIZE, LIMITS).unwrap();
            pictures.iter().map(|picture| picture.unwrap()[3 * 48 * 64 - 1]).collect::<Vec<u8>>()
        };
        assert_eq!(levels(3), [0, 20, 50]);
        assert_eq!(levels(50).len(), 9);
        let empty = tempfile::tempdir().unwrap();
        let error = Pictures::from_folder(empty.path(), 3, SIZE, LIMITS).unwrap_err().to_string();
        assert!(error.contains("expected JPEG or PNG pictures"), "{error}");
    }
}
