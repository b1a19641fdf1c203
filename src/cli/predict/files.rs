//! Where results go.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

use crate::export::bundle::write_file;

/// The file that tells of all pictures.
pub(super) const REGIONS: &str = "regions.json";

pub(super) fn overlay(stem: &str) -> String {
    format!("{stem}.overlay.png")
}

pub(super) fn class_maps(stem: &str) -> String {
    format!("{stem}.class_maps.npy")
}

/// An affordance's name comes from the bundle and may hold anything printable: what has no place in a file name is
/// written as %XX, so that different names stay different.
pub(super) fn heatmap(stem: &str, affordance: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let escape = |byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    format!("{stem}.{}.heatmap.png", affordance.bytes().map(escape).collect::<String>())
}

/// The folder of results, and the picture's part of its results' names.
pub(super) struct Outputs {
    folder: PathBuf,
    force: bool,
    /// One per picture, all different.
    pub stems: Vec<String>,
}

impl Outputs {
    pub fn new(folder: &Path, images: &[PathBuf], force: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), force, stems: stems(images) })
    }

    /// Refuses to go on if one of `names` is there and may not be replaced.
    pub fn check(&self, names: &[String]) -> anyhow::Result<()> {
        let there = |name: &&String| self.folder.join(name.as_str()).symlink_metadata().is_ok();
        match names.iter().find(there) {
            Some(name) if !self.force => {
                bail!("{} exists; give --force to replace it", self.folder.join(name).display())
            }
            _ => Ok(()),
        }
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        if self.force {
            // In the place of what is there: written through a link, a result would end up elsewhere.
            return Ok(write_file(&path, bytes)?);
        }
        let written = File::create_new(&path).and_then(|mut file| file.write_all(bytes));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn write_png(
        &self,
        name: &str,
        pixels: &[u8],
        (width, height): (u32, u32),
        colours: ExtendedColorType,
    ) -> anyhow::Result<()> {
        let mut png = Vec::new();
        PngEncoder::new(&mut png).write_image(pixels, width, height, colours)?;
        self.write(name, &png)
    }
}

/// File names without their endings; the second "cup" becomes "cup_2".
fn stems(images: &[PathBuf]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut stem = |image: &PathBuf| {
        let plain = image.file_stem().map_or_else(|| "picture".into(), |stem| stem.to_string_lossy());
        let numbered = (2..).map(|number| format!("{plain}_{number}"));
        let free = std::iter::once(plain.to_string()).chain(numbered).find(|name| !taken.contains(name));
        let free = free.unwrap_or_default(); // there is always a next number
        taken.insert(free.clone());
        free
    };
    images.iter().map(&mut stem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_name_get_results_of_different_names() {
        let images = ["a/cup.jpg", "b/cup.png", "cup_2.jpg", "cup.jpg", ".."].map(PathBuf::from);
        assert_eq!(stems(&images), ["cup", "cup_2", "cup_2_2", "cup_3", "picture"]);
    }

    #[test]
    fn an_affordance_s_name_can_t_leave_the_folder() {
        assert_eq!(heatmap("cup", "drink_with"), "cup.drink_with.heatmap.png");
        assert_eq!(heatmap("cup", "../é"), "cup.%2E%2E%2F%C3%A9.heatmap.png");
    }
}
