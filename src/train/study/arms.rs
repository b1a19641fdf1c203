//! What is compared: each arm is the settings of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::{
    affordance::AGD20K_SEEN,
    contract,
    data::Dataset,
    train::{
        TrainError,
        loss_report::System,
        run::io_error,
        settings::{Ablation, IN_BACKBONE, K_MEANS, LocateSettings, Settings, TestedMaps},
        wsma::{ClipFile, WsmaSettings},
    },
};

/// One column of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// Of its folder, and how it is asked for.
    pub name: String,
    /// For people.
    pub title: String,
    /// All of a run but its seed.
    pub settings: Settings,
}

/// A row of the paper's ablation.
struct Row {
    name: &'static str,
    title: &'static str,
    /// Shared activation map, L_pixel, denoising.
    on: [bool; 3],
    /// KLD, SIM, NSS on AGD20K, Seen split, as published.
    published: [f64; 3],
}

/// The paper's table of what each part is worth (LoopTrans, ICCV 2025).
const ROWS: [Row; 6] = [
    Row { name: "baseline", title: "baseline", on: [false; 3], published: [1.318, 0.384, 1.135] },
    Row { name: "cam", title: "+ shared CAM", on: [true, false, false], published: [1.259, 0.409, 1.179] },
    Row { name: "denoise", title: "+ denoising", on: [false, false, true], published: [1.251, 0.392, 1.196] },
    Row { name: "cam_pixel", title: "+ shared CAM + pixel", on: [true, true, false], published: [1.149, 0.425, 1.266] },
    Row {
        name: "cam_denoise",
        title: "+ shared CAM + denoising",
        on: [true, false, true],
        published: [1.222, 0.405, 1.183],
    },
    Row { name: "looptrans", title: "LoopTrans (all)", on: [true; 3], published: [1.088, 0.443, 1.322] },
];

const LOCATE: &str = "locate";
const LOCATE_TITLE: &str = "LOCATE";

/// WSMA's name and title with a text encoder, and without: results of the one are none of the other.
const WSMA: [&str; 2] = ["wsma", "WSMA"];
const WSMA_NO_TEXT: [&str; 2] = ["wsma_no_text", "WSMA without text"];

/// The rows of the paper's ablation, in its order. The baseline is LOCATE without its choice of parts, and L_corr.
///
/// `base` says all else. Maps to test: P, but where L_pixel is off and the shared activation map is on: there G_ego is the
/// one that a loss trains on the action.
///
/// # Errors
/// `base` is of another network than LoopTrans.
pub fn ablation(base: &Settings) -> Result<Vec<Arm>, TrainError> {
    let Some(own) = base.looptrans.as_ref().filter(|_| base.system == System::LoopTrans) else {
        let expected = "of LoopTrans".to_owned();
        return Err(TrainError::Values { what: "settings", expected, found: format!("{:?}'s", base.system) });
    };
    let arm = |row: &Row| {
        let [shared_cam, pixel, denoise] = row.on;
        let mut own = own.clone();
        own.ablation = Ablation { shared_cam, pixel, denoise, tested: TestedMaps::Pixel };
        if !own.ablation.trains_pixel() {
            own.ablation.tested = TestedMaps::Scam;
        }
        let settings = Settings { looptrans: Some(own), ..base.clone() };
        Arm { name: row.name.to_owned(), title: row.title.to_owned(), settings }
    };
    Ok(ROWS.iter().map(arm).collect())
}

/// All systems that are trained on the same pictures for as long: the rows of [`ablation`], with WSMA and LOCATE before the
/// last, which is LoopTrans. Both have the data, the epochs, the batch, the augmentation and the optimiser of `base`, LOCATE its
/// saliency too, and their own losses as published. `clip`: a file with CLIP's text encoder for WSMA; without one that row
/// is another, by name and title.
///
/// # Errors
/// As [`ablation`].
pub fn systems(base: &Settings, clip: Option<&str>) -> Result<Vec<Arm>, TrainError> {
    let mut arms = ablation(base)?;
    // A backbone whose CLS attends to backgrounds would mislead one system and not the other.
    let saliency = base.looptrans.as_ref().map_or_else(Default::default, |own| own.options.saliency);
    let own = LocateSettings { saliency, ..LocateSettings::published() };
    let settings = Settings { system: System::Locate, looptrans: None, locate: Some(own), ..base.clone() };
    let locate = Arm { name: LOCATE.to_owned(), title: LOCATE_TITLE.to_owned(), settings };
    let [name, title] = if clip.is_some() { WSMA } else { WSMA_NO_TEXT }.map(str::to_owned);
    let own = WsmaSettings { clip: clip.map(str::to_owned), ..WsmaSettings::published() };
    let settings = Settings { system: System::Wsma, looptrans: None, wsma: Some(own), ..base.clone() };
    let last = arms.len() - 1;
    arms.splice(last..last, [Arm { name, title, settings }, locate]);
    Ok(arms)
}

/// SHA-256 of the text encoder's file of each arm that has one. Reads the files whole: one that can't be used is to be found
/// out before hours of work.
pub(super) fn text_encoders(arms: &[Arm]) -> Result<BTreeMap<String, String>, TrainError> {
    let mut found = BTreeMap::new();
    for Arm { name, settings, .. } in arms {
        let Some(clip) = settings.wsma.as_ref().and_then(|own| own.clip.as_deref()).map(Path::new) else { continue };
        ClipFile::read(clip)?;
        found.insert(name.clone(), sha256(clip)?);
    }
    Ok(found)
}

fn sha256(file: &Path) -> Result<String, TrainError> {
    let bytes = fs::read(file).map_err(io_error("read", file))?;
    Ok(contract::sha256_hex(&bytes))
}

/// SHA-256 of the concept clusters' file of each arm that has one.
pub(super) fn clusters(arms: &[Arm]) -> Result<BTreeMap<String, String>, TrainError> {
    let file = |arm: &Arm| {
        let clusters = &arm.settings.looptrans.as_ref()?.clusters;
        (!matches!(clusters.as_str(), K_MEANS | IN_BACKBONE)).then(|| clusters.clone())
    };
    let mut found = BTreeMap::new();
    for arm in arms {
        let Some(path) = file(arm) else { continue };
        found.insert(arm.name.clone(), sha256(Path::new(&path))?);
    }
    Ok(found)
}

/// Those that are asked for, in their order; none asked for: all.
///
/// # Errors
/// A name that none of them has.
pub fn chosen(arms: Vec<Arm>, names: &[String]) -> Result<Vec<Arm>, TrainError> {
    let known: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let expected = format!("some of {}", known.join(", "));
        return Err(TrainError::Values { what: "rows", expected, found: unknown.clone() });
    }
    let wanted: BTreeSet<&String> = names.iter().collect();
    Ok(arms.into_iter().filter(|arm| wanted.is_empty() || wanted.contains(&arm.name)).collect())
}

/// The arms whose heat the sheets show: the first, the last, and every other network in between.
pub(super) fn on_sheets(arms: &[Arm]) -> impl Iterator<Item = &Arm> {
    let shown = |place: usize, arm: &Arm| {
        place == 0
            || place + 1 == arms.len()
            || arms.first().is_none_or(|first| first.settings.system != arm.settings.system)
    };
    arms.iter().enumerate().filter(move |(place, arm)| shown(*place, arm)).map(|(_, arm)| arm)
}

/// Test items of that dataset, as others who report on it count them (SelectiveCL's list of its distribution, summed).
pub(super) const PUBLISHED_ITEMS: usize = 1675;

/// KLD, SIM and NSS that were published for the arm, where the dataset is the one they are of: AGD20K, Seen split.
pub(super) fn published(arm: &str, dataset: &Dataset) -> Option<[f64; 3]> {
    let seen = dataset.folder.file_name().is_some_and(|name| name == "Seen");
    let same = dataset.affordances.iter().map(String::as_str).eq(AGD20K_SEEN);
    // Other datasets may lie in a folder of that name.
    let whole = (0..AGD20K_SEEN.len()).all(|label| dataset.test.iter().any(|item| item.label == label));
    let row = ROWS.iter().find(|row| row.name == arm)?;
    (seen && same && whole).then_some(row.published)
}

/// The maps that an arm is judged by.
pub(super) fn tested(settings: &Settings) -> TestedMaps {
    settings.looptrans.as_ref().map_or(TestedMaps::Pixel, |own| own.ablation.tested)
}
