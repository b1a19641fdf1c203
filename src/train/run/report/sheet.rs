//! Test pictures with heat and ground truth laid over them, as data URIs.

use std::io::Cursor;

use base64ct::{Base64, Encoding};
use image::{ImageFormat, RgbImage};

use crate::{
    data::{DataError, TestItem, truth},
    perceive::{FrameError, picture},
    train::{
        TrainError,
        run::{
            evaluate::{Evaluation, Test, heat},
            pictures::{laid_over, small},
        },
    },
};

/// Pictures on the sheet.
const SHOWN: usize = 12;

/// A test picture as people see it: small, with heat over it, and with ground truth over it.
#[derive(Debug)]
pub(in crate::train::run) struct View {
    /// What it is of.
    pub action: String,
    pub object: String,
    kld: f64,
    /// Picture, heat, truth: of one size.
    images: [RgbImage; 3],
}

impl View {
    /// The three in one picture.
    pub fn side_by_side(&self) -> RgbImage {
        let (width, height) = self.images[0].dimensions();
        let at = |x: u32| (&self.images[(x / width.max(1)) as usize % 3], x % width.max(1));
        RgbImage::from_fn(3 * width, height, |x, y| {
            let (image, x) = at(x);
            *image.get_pixel(x, y)
        })
    }

    pub(super) fn figure(&self) -> String {
        let images: String = self.images.iter().map(tag).collect();
        let [action, object] = [&self.action, &self.object].map(|text| super::escaped(text));
        format!("<figure>{images}<figcaption>{action}, {object}: KLD {:.3}</figcaption></figure>", self.kld)
    }
}

/// Some of the items that were scored, spread evenly over them.
pub(in crate::train::run) fn views(evaluation: &Evaluation, test: &mut Test<'_>) -> Result<Vec<View>, TrainError> {
    if evaluation.items.is_empty() {
        return Ok(Vec::new());
    }
    let scored = &evaluation.items;
    let count = SHOWN.min(scored.len());
    let shown: Vec<_> = (0..count).map(|index| scored[index * scored.len() / count]).collect();
    let items: Vec<usize> = shown.iter().map(|(item, _)| *item).collect();
    let texts = test.network.texts();
    let maps = heat(test, texts.as_ref(), &items)?;
    let mut views = Vec::new();
    for ((item, scores), map) in shown.iter().zip(maps) {
        let TestItem { label, object, picture: path, truth } = &test.dataset.test[*item];
        let failed = |cause: FrameError| DataError::Resize { path: path.clone(), cause: cause.to_string() };
        let picture = small(&picture::load(path, &test.limits)?).map_err(failed)?;
        let truth = truth::load(truth, &test.limits)?;
        let heat = laid_over(&picture, map.mapv(f64::from).view()).map_err(failed)?;
        let truth = laid_over(&picture, truth.view()).map_err(failed)?;
        let (action, object) = (test.dataset.affordances[*label].clone(), object.clone());
        views.push(View { action, object, kld: scores.kld, images: [picture, heat, truth] });
    }
    Ok(views)
}

fn tag(picture: &RgbImage) -> String {
    let mut png = Cursor::new(Vec::new());
    match picture.write_to(&mut png, ImageFormat::Png) {
        Ok(()) => format!("<img alt=\"\" src=\"data:image/png;base64,{}\">", Base64::encode_string(png.get_ref())),
        Err(_) => String::new(),
    }
}
