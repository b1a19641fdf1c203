//! A contact sheet: one row per object, what a set of this seed shows of it.

use image::{Rgb, RgbImage, imageops};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::{
    actor::Occlusion,
    affordance::Affordance,
    kinds::{KINDS, Kind},
    picture::{Shot, View},
    truth,
};

/// Pixels along a picture's sides.
const CELL: u32 = 84;
const GAP: u32 = 3;
const LETTERS: RasterHeight = RasterHeight::Size16;
const STRIP: u32 = 16;
const COLUMNS: u32 = 5;
/// Rows stand side by side in so many blocks.
const BLOCKS: u32 = 2;
const PAPER: [u8; 3] = [248, 248, 248];
const INK: [u8; 3] = [48, 48, 48];

/// Draws the sheet. Columns: alone; about to act; half hidden; hidden; a test picture with its ground truth.
pub fn sheet(seed: u64) -> RgbImage {
    let mut sheet = of_kinds(seed, &KINDS);
    // 16 levels of each colour: a third of the bytes as PNG, and hardly another look at this size.
    sheet.iter_mut().for_each(|level| *level = ((u16::from(*level) + 8) / 17 * 17) as u8);
    sheet
}

fn of_kinds(seed: u64, kinds: &[Kind]) -> RgbImage {
    let rows = (kinds.len() as u32).div_ceil(BLOCKS);
    let (block, row) = (COLUMNS * (CELL + GAP) + 4 * GAP, STRIP + CELL + GAP);
    let mut sheet = RgbImage::from_pixel(BLOCKS * block - 3 * GAP, STRIP + rows * row, Rgb(PAPER));
    for left in (0..BLOCKS).map(|index| index * block + GAP) {
        let titles = ["ego", "exo, none", "partial", "full", "truth"];
        for (column, title) in (0..).zip(titles) {
            letters(&mut sheet, (left + column * (CELL + GAP), 0), title);
        }
    }
    for (index, kind) in kinds.iter().enumerate() {
        let affordance = kind.affordances[index % kind.affordances.len()];
        let (left, top) = (index as u32 / rows * block + GAP, STRIP + index as u32 % rows * row);
        let note = if kind.held_out { ", held out" } else { "" };
        letters(&mut sheet, (left, top), &format!("{}: {}{note}", kind.name, affordance.name()));
        for (column, picture) in (0..).zip(cells(index, kind, affordance, seed)) {
            let x = left + column * (CELL + GAP);
            imageops::replace(&mut sheet, &picture, i64::from(x), i64::from(top + STRIP));
        }
    }
    sheet
}

fn cells(index: usize, kind: &Kind, affordance: Affordance, seed: u64) -> [RgbImage; COLUMNS as usize] {
    // Those held out of training have no exocentric pictures in a set; here they show what they would look like.
    let number = index as u32 % 3 + u32::from(kind.held_out);
    let draw = |view| Shot { kind: index, affordance, view, number }.draw(seed, 2 * CELL as usize);
    let small = |picture: &RgbImage| imageops::thumbnail(picture, CELL, CELL);
    let [none, partial, full] = Occlusion::ALL.map(|level| small(&draw(View::Exo(level)).picture));
    let test = draw(View::Test);
    let marked = heated(&test.picture, &truth::density(&test.mask, 2 * CELL as usize));
    [small(&draw(View::Ego).picture), none, partial, full, small(&marked)]
}

/// Grey, with the density in red and yellow.
fn heated(picture: &RgbImage, density: &[u8]) -> RgbImage {
    let mut heated = picture.clone();
    for (pixel, level) in heated.pixels_mut().zip(density) {
        let [r, g, b] = pixel.0.map(u32::from);
        let grey = (3 * r + 6 * g + b) / 10 * 3 / 4;
        let level = u32::from(*level);
        let heat = [255, level * 3 / 4, 30];
        let share = (level * 7 / 6).min(225);
        pixel.0 = heat.map(|heat| ((grey * (255 - share) + heat * share) / 255) as u8);
    }
    heated
}

/// Dark letters, [`STRIP`] pixels high.
pub(crate) fn letters(sheet: &mut RgbImage, (left, top): (u32, u32), text: &str) {
    let width = get_raster_width(FontWeight::Bold, LETTERS) as u32;
    for (place, letter) in (0..).zip(text.chars()) {
        let Some(glyph) = get_raster(letter, FontWeight::Bold, LETTERS) else {
            continue;
        };
        for (y, x) in (0..STRIP).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let dark = u32::from(glyph.pixel(x as usize, y as usize).unwrap_or(0));
            if let Some(pixel) = sheet.get_pixel_mut_checked(left + place * width + x, top + y) {
                let blend = |c: usize| (u32::from(pixel.0[c]) * (255 - dark) + u32::from(INK[c]) * dark) / 255;
                pixel.0 = [0, 1, 2].map(|c| blend(c) as u8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_five_pictures_and_its_truth_glows() {
        let sheet = of_kinds(1, &KINDS[..2]);
        assert_eq!(sheet.dimensions(), (2 * COLUMNS * (CELL + GAP) + 5 * GAP, 2 * STRIP + CELL + GAP));
        let block = COLUMNS * (CELL + GAP) + 4 * GAP;
        for cell in 0..2 * COLUMNS {
            let (left, top) = (cell / COLUMNS * block + GAP + cell % COLUMNS * (CELL + GAP), 2 * STRIP);
            let pixels = (0..CELL * CELL).map(|index| *sheet.get_pixel(left + index % CELL, top + index / CELL));
            let colours: std::collections::HashSet<Rgb<u8>> = pixels.clone().collect();
            assert!(colours.len() > 500, "cell {cell} has {} colours", colours.len());
            let hot = pixels.filter(|pixel| pixel.0[0] > 200 && pixel.0[2] < 80).count();
            let is_truth = cell % COLUMNS == COLUMNS - 1;
            assert!(!is_truth || hot > 20, "cell {cell}: {hot} hot pixels");
        }
    }
}
