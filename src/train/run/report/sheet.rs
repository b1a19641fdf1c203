//! Test pictures with heat and ground truth laid over them, as data URIs.

use std::io::Cursor;

use base64ct::{Base64, Encoding};
use image::{ImageFormat, RgbImage};
use ndarray::ArrayView2;

use crate::{
    contract::Size,
    data::{DataError, TestItem, truth},
    perceive::{
        FrameError,
        decode::RgbView,
        overlay::{HeatLayer, Overlay},
        picture,
        preprocess::Preprocessor,
    },
    train::{
        TrainError,
        run::evaluate::{Evaluation, Test, heat},
    },
};

/// Pictures on the sheet.
const SHOWN: usize = 12;
/// The longer side of one, in pixels.
const SIDE: u32 = 176;
const ALPHA: f32 = 0.7;

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

fn small(picture: &RgbImage) -> Result<RgbImage, FrameError> {
    let (width, height) = picture.dimensions();
    let longer = u64::from(width.max(height).max(1));
    let scaled = |side: u32| (u64::from(side) * u64::from(SIDE) / longer).max(1) as u32;
    let size = Size { height: scaled(height), width: scaled(width) };
    let view = RgbView { size: Size { height, width }, data: picture.as_raw() };
    let pixels = Preprocessor::new(size).run(view)?.to_vec();
    Ok(RgbImage::from_raw(size.width, size.height, pixels).unwrap_or_default())
}

/// The map's own range, from nothing to full heat.
fn laid_over(picture: &RgbImage, map: ArrayView2<'_, f64>) -> Result<RgbImage, FrameError> {
    let (low, high) = map.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    let range = if high > low { high - low } else { 1.0 };
    let levels: Vec<u8> = map.iter().map(|value| (255.0 * (value - low) / range) as u8).collect();
    let (rows, columns) = map.dim();
    let heat = HeatLayer { size: Size { height: rows as u32, width: columns as u32 }, levels: &levels };
    let size = Size { height: picture.height(), width: picture.width() };
    let mut out = RgbImage::default();
    Overlay::new(ALPHA).draw(RgbView { size, data: picture.as_raw() }, heat, &[], &mut out)?;
    Ok(out)
}

fn tag(picture: &RgbImage) -> String {
    let mut png = Cursor::new(Vec::new());
    match picture.write_to(&mut png, ImageFormat::Png) {
        Ok(()) => format!("<img alt=\"\" src=\"data:image/png;base64,{}\">", Base64::encode_string(png.get_ref())),
        Err(_) => String::new(),
    }
}
