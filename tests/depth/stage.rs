//! The stage beside the loop: which depth a picture gets, how long it waits, and what is refused with its reason.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use looptrans_ros::{
    perceive::{
        Frame, FrameError, Pixels, Stamp,
        depth::{Calibration, DepthState, Rectification},
        grasp::GraspRegion,
    },
    robot::{
        Incoming,
        depth::{DepthInbox, DepthResult, DepthStage, DepthStageSettings, PictureCalibration, PictureRegions},
    },
};

use crate::{
    SETTINGS,
    scene::{Shape, outline, region, vga},
};

const FRAME: &str = "camera_optical_frame";
const STAMP: Stamp = Stamp { sec: 100, nanosec: 0 };
/// Longer than any test may take: who waits for it hangs.
const FOREVER: Duration = Duration::from_secs(3600);

/// A depth message.
#[derive(Clone)]
struct Message {
    frame_id: &'static str,
    encoding: &'static str,
    height: u32,
    data: Vec<u8>,
}

impl Incoming for Message {
    fn frame(&self) -> Result<Frame<'_>, FrameError> {
        let Self { frame_id, encoding, height, ref data } = *self;
        let stride_bytes = data.len() as u32 / 480;
        let pixels = Pixels::Raw { width: 640, height, encoding, is_bigendian: false, stride_bytes, data };
        Ok(Frame { stamp: STAMP, frame_id, pixels })
    }

    fn received(&self) -> Instant {
        Instant::now()
    }
}

fn board() -> Message {
    let depth = vga().render_around(&[Shape::Plane { normal: [0.0, 0.0, 1.0], offset: 0.6 }], &square());
    Message { frame_id: FRAME, encoding: "32FC1", height: 480, data: depth.floats() }
}

fn square() -> Vec<[f64; 2]> {
    outline(&vga(), [0.0, 0.0, 0.6], [0.03, 0.0, 0.0], [0.0, 0.05, 0.0])
}

struct Bench {
    inbox: Arc<DepthInbox<Message>>,
    stage: DepthStage<Message>,
    regions: Vec<GraspRegion>,
    newest: Option<PictureCalibration>,
}

impl Bench {
    fn new(wait: Duration) -> Self {
        let inbox = Arc::new(DepthInbox::default());
        let settings =
            DepthStageSettings { slop: Duration::from_millis(20), wait, measure: SETTINGS, max_image_pixels: 1 << 20 };
        Self {
            stage: DepthStage::new(inbox.clone(), settings, Rectification::Raw, Arc::default()),
            inbox,
            regions: vec![region(square(), vga().centre, 0.0)],
            newest: Some(PictureCalibration { frame_id: FRAME.to_owned(), calibration: vga().calibration() }),
        }
    }

    fn offer(&self, millis: u32, message: Message) {
        self.inbox.offer(Stamp { sec: 100, nanosec: millis * 1_000_000 }, message, 1);
    }

    fn measure(&mut self, frame_id: &str) -> DepthResult {
        let data = [];
        let frame = Frame { stamp: STAMP, frame_id, pixels: Pixels::Compressed { format: "", data: &data } };
        let picture = PictureRegions { frame: &frame, size: vga().size, regions: &self.regions };
        self.stage.measure(&picture, self.newest.as_ref())
    }
}

fn assert_measured(result: &DepthResult) {
    assert_eq!(result.state, DepthState::Ok);
    assert!((result.regions[0].grasp.unwrap().width_m - 0.06).abs() < 0.002, "{result:?}");
}

#[test]
fn depth_that_is_there_is_used_at_once() {
    let mut bench = Bench::new(FOREVER);
    bench.offer(15, board());
    bench.stage.begin(Some(STAMP));
    assert_measured(&bench.measure(FRAME));
    assert_eq!(bench.inbox.trouble(), None);
}

#[test]
fn the_picture_s_depth_outlives_those_that_come_while_the_model_works() {
    let mut bench = Bench::new(FOREVER);
    bench.offer(1, board());
    bench.stage.begin(Some(STAMP));
    let nothing = Message { data: vec![0; 640 * 480 * 4], ..board() };
    (1..20).for_each(|n| bench.offer(33 * n, nothing.clone()));
    assert_measured(&bench.measure(FRAME));
}

#[test]
fn depth_that_comes_while_it_is_waited_for_is_used() {
    let mut bench = Bench::new(FOREVER);
    bench.stage.begin(Some(STAMP));
    let inbox = bench.inbox.clone();
    let camera = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        inbox.offer(STAMP, board(), 1);
    });
    assert_measured(&bench.measure(FRAME));
    camera.join().unwrap();
}

#[test]
fn depth_that_does_not_come_is_late_and_depth_of_another_time_is_not_waited_for() {
    let mut bench = Bench::new(Duration::ZERO);
    bench.stage.begin(Some(STAMP));
    assert_eq!(bench.measure(FRAME), DepthResult { state: DepthState::Late, regions: vec![] });
    assert!(bench.inbox.trouble().unwrap().contains("depth_wait"));

    let mut bench = Bench::new(FOREVER);
    bench.offer(200, board());
    for _ in 0..3 {
        bench.stage.begin(Some(STAMP));
        assert_eq!(bench.measure(FRAME).state, DepthState::Unsynced);
    }
    let trouble = bench.inbox.trouble().unwrap();
    assert!(trouble.contains("+200.0 ms"), "{trouble}");
    bench.offer(0, board());
    bench.stage.begin(Some(STAMP));
    assert_measured(&bench.measure(FRAME));
    assert_eq!(bench.inbox.trouble(), None);
}

#[test]
fn wrong_depth_is_refused_with_its_reason() {
    let wrong_units = Message { data: board().data.chunks(4).flat_map(thousandfold).collect(), ..board() };
    let cases = [
        (wrong_units, "looks like millimetres"),
        (Message { frame_id: "depth_frame", ..board() }, "registered"),
        (Message { height: 240, ..board() }, "640x240"),
        (Message { encoding: "rgb8", ..board() }, "rgb8"),
        (Message { height: 481, ..board() }, "too short"),
        (Message { data: vec![0; 640 * 480 * 4], ..board() }, "no pixel between"),
    ];
    for (message, reason) in cases {
        let mut bench = Bench::new(FOREVER);
        bench.offer(0, message);
        bench.stage.begin(Some(STAMP));
        assert_eq!(bench.measure(FRAME), DepthResult { state: DepthState::Invalid, regions: vec![] }, "{reason}");
        let trouble = bench.inbox.trouble().unwrap();
        assert!(trouble.contains(reason), "{trouble}");
    }
}

fn thousandfold(sample: &[u8]) -> [u8; 4] {
    (f32::from_le_bytes(sample.try_into().unwrap()) * 1e3).to_le_bytes()
}

#[test]
fn without_a_calibration_of_this_camera_depth_is_not_even_waited_for() {
    let known = || PictureCalibration { frame_id: FRAME.to_owned(), calibration: vga().calibration() };
    let uncalibrated = Calibration { k: vec![0.0; 9], ..vga().calibration() };
    let cases = [
        (None, FRAME, "no camera_info"),
        (Some(PictureCalibration { frame_id: "other".to_owned(), ..known() }), FRAME, "\"other\""),
        (Some(PictureCalibration { frame_id: String::new(), ..known() }), "", "not empty"),
        (Some(PictureCalibration { calibration: uncalibrated, ..known() }), FRAME, "uncalibrated"),
    ];
    for (newest, frame_id, reason) in cases {
        let mut bench = Bench::new(FOREVER);
        bench.newest = newest;
        bench.stage.begin(Some(STAMP));
        assert_eq!(bench.measure(frame_id).state, DepthState::NoCameraInfo, "{reason}");
        let trouble = bench.inbox.trouble().unwrap();
        assert!(trouble.contains(reason), "{trouble}");
        // The right one helps at once.
        bench.newest = Some(known());
        bench.offer(0, board());
        bench.stage.begin(Some(STAMP));
        assert_measured(&bench.measure(FRAME));
    }
}

#[test]
fn a_picture_whose_stamp_is_wrong_has_no_depth_whatever_depth_is_stamped() {
    let mut bench = Bench::new(FOREVER);
    for _ in 0..3 {
        bench.offer(0, board());
        bench.stage.begin(None);
        assert_eq!(bench.measure(FRAME), DepthResult { state: DepthState::Unsynced, regions: vec![] });
        assert!(bench.inbox.trouble().unwrap().contains("stamp_policy"));
    }
    bench.stage.begin(Some(STAMP));
    bench.offer(15, board());
    assert_measured(&bench.measure(FRAME));
}
