//! Depth beside the loop: depth frames wait here for the picture they belong to, never the other way round for longer
//! than `depth_wait`.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use super::{Health, Incoming, log_limit::LogLimit};
use crate::{
    config::NodeSettings,
    contract::Size,
    perceive::{
        Frame, Stamp,
        depth::{
            Calibration, CalibrationError, CameraModel, DepthError, DepthImage, DepthSettings, DepthState, DepthSync,
            GraspMeasurer, Match, Rectification, RegionDepth, Scene,
        },
        grasp::GraspRegion,
    },
};

/// Lines about missing 3D: one at once, then one per this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The door between the thread that receives depth and the one that processes pictures.
#[derive(Debug)]
pub struct DepthInbox<D> {
    sync: Mutex<DepthSync<D>>,
    arrived: Condvar,
    /// Why the last picture had no 3D.
    trouble: Mutex<Option<String>>,
}

impl<D> Default for DepthInbox<D> {
    fn default() -> Self {
        Self { sync: Mutex::default(), arrived: Condvar::new(), trouble: Mutex::default() }
    }
}

impl<D> DepthInbox<D> {
    /// Takes a depth frame of so many bytes in. Never blocks on the work.
    pub fn offer(&self, stamp: Stamp, frame: D, bytes: usize) {
        self.sync().push(stamp.nanos(), frame, bytes);
        self.arrived.notify_all();
    }

    /// Forgets all frames: there is no more use for them, or another camera may be there.
    pub fn clear(&self) {
        self.sync().clear();
        self.set_trouble(None);
    }

    /// Why the last picture had no 3D; None: it had, or there was none yet.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Waits until the picture's depth is there, cannot come any more, or the deadline has passed.
    fn wait(&self, slop: Duration, deadline: Instant) -> Match<D> {
        let slop_nanos = i64::try_from(slop.as_nanos()).unwrap_or(i64::MAX);
        let mut sync = self.sync();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = sync.look(slop_nanos, left.is_zero());
            if !matches!(found, Match::NotYet) || left.is_zero() {
                sync.done();
                return found;
            }
            sync = self.arrived.wait_timeout(sync, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Depth's stamps less the pictures', in the median [ms]; None before the first picture.
    pub fn median_offset_millis(&self) -> Option<f64> {
        self.sync().median_offset_nanos().map(|nanos| nanos as f64 * 1e-6)
    }

    // A synchroniser that missed one frame is still one: a panic elsewhere does no harm.
    fn sync(&self) -> MutexGuard<'_, DepthSync<D>> {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calibration of a picture, as its message has it.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureCalibration {
    /// The camera it describes.
    pub frame_id: String,
    /// What it says.
    pub calibration: Calibration,
}

/// How depth is used. Made from [`NodeSettings`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthStageSettings {
    /// The furthest that a depth image's stamp may lie from the picture's.
    pub slop: Duration,
    /// The longest wait, from the begin of work on the picture.
    pub wait: Duration,
    /// What counts as depth, and the gripper.
    pub measure: DepthSettings,
    /// Larger depth images are refused.
    pub max_image_pixels: u64,
}

impl From<&NodeSettings> for DepthStageSettings {
    fn from(settings: &NodeSettings) -> Self {
        Self {
            slop: settings.sync_slop,
            wait: settings.depth_wait,
            measure: DepthSettings {
                depth_min_m: settings.depth_min_m,
                depth_max_m: settings.depth_max_m,
                gripper_width_min_m: settings.gripper_width_min_m,
                gripper_width_max_m: settings.gripper_width_max_m,
            },
            max_image_pixels: u64::from(settings.max_image_pixels),
        }
    }
}

/// What depth says of one picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DepthResult {
    /// What could be done.
    pub state: DepthState,
    /// One for each region, in their order; empty unless the state is [`DepthState::Ok`].
    pub regions: Vec<RegionDepth>,
}

/// Why a picture has no 3D.
#[derive(Debug, thiserror::Error)]
enum NoDepth {
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    #[error(transparent)]
    Depth(#[from] DepthError),
    #[error("no depth image has come in time (depth_wait){}", offset_text(*.median_millis))]
    Late { median_millis: Option<f64> },
    #[error("no depth image lies within sync_slop of the picture{}", offset_text(*.median_millis))]
    Unsynced { median_millis: Option<f64> },
    #[error("the picture's stamp is wrong (stamp_policy lets it pass), so no depth image is known to be of its moment")]
    Undated,
}

fn offset_text(median_millis: Option<f64>) -> String {
    median_millis.map_or_else(String::new, |millis| {
        format!("; in the median the nearest depth image is stamped {millis:+.1} ms from the picture")
    })
}

impl NoDepth {
    fn state(&self) -> DepthState {
        match self {
            Self::Calibration(_) => DepthState::NoCameraInfo,
            Self::Depth(_) => DepthState::Invalid,
            Self::Late { .. } => DepthState::Late,
            Self::Unsynced { .. } | Self::Undated => DepthState::Unsynced,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Calibration(_) => "no_camera_info",
            Self::Depth(_) => "invalid",
            Self::Late { .. } => "late",
            Self::Unsynced { .. } => "unsynced",
            Self::Undated => "undated",
        }
    }
}

/// Measures the regions of each picture.
#[derive(Debug)]
pub struct DepthStage<D> {
    inbox: Arc<DepthInbox<D>>,
    settings: DepthStageSettings,
    rectification: Rectification,
    /// Whose name stands in the log.
    health: Arc<Health>,
    /// The camera of the last picture, with what it was made from.
    camera: Option<(Calibration, Size, CameraModel)>,
    measurer: GraspMeasurer,
    begun: Option<Instant>,
    /// The picture's stamp says nothing of its moment.
    is_undated: bool,
    log: LogLimit,
    had_trouble: bool,
}

/// A picture with its regions.
#[derive(Debug, Clone, Copy)]
pub struct PictureRegions<'a> {
    /// The picture's message.
    pub frame: &'a Frame<'a>,
    /// The decoded picture's size.
    pub size: Size,
    /// What was found in it.
    pub regions: &'a [GraspRegion],
}

impl<D: Incoming> DepthStage<D> {
    /// One that takes its depth from `inbox`, for the pictures of `health`'s camera, which are rectified or not.
    pub fn new(
        inbox: Arc<DepthInbox<D>>,
        settings: DepthStageSettings,
        rectification: Rectification,
        health: Arc<Health>,
    ) -> Self {
        Self {
            inbox,
            settings,
            rectification,
            health,
            camera: None,
            measurer: GraspMeasurer::default(),
            begun: None,
            is_undated: false,
            log: LogLimit::new(LOG_INTERVAL),
            had_trouble: false,
        }
    }

    /// Takes other settings, from the next picture on.
    pub fn apply(&mut self, settings: DepthStageSettings) {
        self.settings = settings;
    }

    /// Work on a picture begins: its depth is looked for from now on. None: its stamp is wrong; then it has no 3D, for of
    /// equal wrong stamps any depth image would do.
    pub fn begin(&mut self, stamp: Option<Stamp>) {
        self.begun = Some(Instant::now());
        self.is_undated = stamp.is_none();
        if let Some(stamp) = stamp {
            self.inbox.sync().aim(stamp.nanos());
        }
    }

    /// Measures the picture's regions. Waits for its depth, but no longer than `depth_wait` from [`Self::begin`].
    pub fn measure(&mut self, picture: &PictureRegions<'_>, calibration: Option<&PictureCalibration>) -> DepthResult {
        match self.try_measure(picture, calibration) {
            Ok(regions) => {
                self.inbox.set_trouble(None);
                // Where it comes and goes, that it went is what matters.
                if std::mem::take(&mut self.had_trouble) && self.log.note("has_3d", Instant::now()).is_some() {
                    info!("{}", self.health.say("regions have 3D"));
                }
                DepthResult { state: DepthState::Ok, regions }
            }
            Err(error) => {
                self.had_trouble = true;
                let text = format!("regions have no 3D: {error}");
                match self.log.note(error.kind(), Instant::now()) {
                    Some(_) => warn!("{}", self.health.say(&text)),
                    None => debug!("{}", self.health.say(&text)),
                }
                self.inbox.set_trouble(Some(text));
                DepthResult { state: error.state(), regions: Vec::new() }
            }
        }
    }

    fn try_measure(
        &mut self,
        picture: &PictureRegions<'_>,
        calibration: Option<&PictureCalibration>,
    ) -> Result<Vec<RegionDepth>, NoDepth> {
        // First, since no depth helps without it.
        self.prepare_camera(picture, calibration)?;
        if self.is_undated {
            return Err(NoDepth::Undated);
        }
        let deadline = self.begun.take().map_or_else(Instant::now, |begun| begun + self.settings.wait);
        let message = match self.inbox.wait(self.settings.slop, deadline) {
            Match::Found(message) => message,
            Match::NotYet => return Err(NoDepth::Late { median_millis: self.inbox.median_offset_millis() }),
            Match::Unsynced => return Err(NoDepth::Unsynced { median_millis: self.inbox.median_offset_millis() }),
        };
        let depth = self.read(picture, &message.frame().map_err(DepthError::from)?)?;
        let Some((_, _, camera)) = &self.camera else {
            return Err(CalibrationError::Missing.into());
        };
        let scene = Scene { depth, camera };
        Ok(picture.regions.iter().map(|r| self.measurer.measure(r, &scene, &self.settings.measure)).collect())
    }

    fn prepare_camera(
        &mut self,
        picture: &PictureRegions<'_>,
        calibration: Option<&PictureCalibration>,
    ) -> Result<(), CalibrationError> {
        let PictureCalibration { frame_id, calibration } = calibration.ok_or(CalibrationError::Missing)?;
        if picture.frame.frame_id.is_empty() || picture.frame.frame_id != frame_id {
            let (picture, calibrated) = (picture.frame.frame_id.to_owned(), frame_id.clone());
            return Err(CalibrationError::Frame { picture, calibrated });
        }
        let is_known =
            self.camera.as_ref().is_some_and(|(known, size, _)| known == calibration && *size == picture.size);
        if !is_known {
            let model = CameraModel::new(calibration, self.rectification, picture.size)?;
            self.camera = Some((calibration.clone(), picture.size, model));
        }
        Ok(())
    }

    /// The depth image of a message, if it is registered to the picture and of metres.
    fn read<'m>(&self, picture: &PictureRegions<'_>, message: &Frame<'m>) -> Result<DepthImage<'m>, DepthError> {
        let depth = DepthImage::new(&message.pixels, self.settings.max_image_pixels)?;
        if message.frame_id != picture.frame.frame_id {
            let (picture, depth) = (picture.frame.frame_id.to_owned(), message.frame_id.to_owned());
            return Err(DepthError::Frame { picture, depth });
        }
        if depth.size() != picture.size {
            return Err(DepthError::Size { picture: picture.size, depth: depth.size() });
        }
        depth.check_values(self.settings.measure.depth_min_m, self.settings.measure.depth_max_m)?;
        Ok(depth)
    }
}
