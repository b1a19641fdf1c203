//! The cameras: each with its input topics, its accounting, its output topics. What they share (the model, the loop, the
//! intake) is not here but passed in.

use std::{slice, sync::Arc, time::Instant};

use r2r::sensor_msgs::msg::CameraInfo;

use super::{
    NodeError,
    camera_info::Calibrations,
    depth::{self, DepthMessage},
    inlet::Inlet,
    input::{CameraMessage, CameraTopic},
    publish::{RosSink, SinkInputs},
    qos,
    spin::{Graph, Spin, Works},
    topic::CameraNames,
};
use crate::{
    config::{NodeSettings, RosArgs},
    robot::{Health, InputFacts, Intake, MatchingQos, PublishError, Sink, depth::DepthInbox},
};

/// A camera's topics, before its name and remapping.
const IMAGE: &str = "image";
const CAMERA_INFO: &str = "camera_info";
const DEPTH: &str = "depth/image";

/// Where the node's frames and orders come in.
pub type RosIntake = Intake<CameraMessage, <RosSink as Sink>::Answer>;

/// All cameras of the node, in the order of the parameter `cameras`, which is that of their places in the intake. There is
/// at least one.
pub struct Cameras(Vec<Camera>);

/// Lives as long as the node; its inputs are closed until [`Cameras::open`].
pub struct Camera {
    /// Its name; empty = the only one.
    pub name: String,
    /// Where its images come from.
    pub topic: CameraTopic,
    /// What is counted of it, over all activations.
    pub health: Arc<Health>,
    names: CameraNames,
    /// What is asked of its images.
    requested: MatchingQos,
    graph: Graph,
    inputs: Inputs,
}

/// What a camera sends. Clones are the same inputs.
#[derive(Clone)]
struct Inputs {
    images: Inlet<Vec<u8>>,
    calibrations: Inlet<CameraInfo>,
    known: Calibrations,
    /// None: depth is not in use.
    depth: Option<Depth>,
}

/// A camera's depth images.
#[derive(Clone)]
struct Depth {
    images: Inlet<Vec<u8>>,
    inbox: Arc<DepthInbox<DepthMessage>>,
    /// The most that an image may have.
    max_pixels: u32,
}

impl Cameras {
    /// Those that the settings name, or the only one.
    pub fn new(works: &mut Works, args: &RosArgs, settings: &NodeSettings) -> Self {
        const ONLY: &[String] = &[String::new()];
        let names = if settings.cameras.is_empty() { ONLY } else { &settings.cameras };
        Self(names.iter().map(|name| Camera::new(name, works, args, settings)).collect())
    }

    /// Each, by its place.
    pub fn iter(&self) -> slice::Iter<'_, Camera> {
        self.0.iter()
    }

    /// What is counted of each.
    pub fn healths(&self) -> Vec<Arc<Health>> {
        self.0.iter().map(|camera| camera.health.clone()).collect()
    }

    /// Makes each one's output topics when called on the ROS thread; on an error there are none.
    ///
    /// # Errors
    /// (Of what is returned.) rcl refuses a name or has no resources left.
    pub fn sinks(
        &self,
        settings: Arc<NodeSettings>,
        model_id: String,
    ) -> impl FnOnce(&mut Works) -> Result<Vec<RosSink>, PublishError> + Send + 'static {
        let inputs: Vec<_> = self.0.iter().map(Camera::sink_inputs).collect();
        move |works| {
            let mut sinks = Vec::with_capacity(inputs.len());
            for inputs in inputs {
                match RosSink::create(works, &settings, model_id.clone(), inputs) {
                    Ok(sink) => sinks.push(sink),
                    Err(error) => {
                        sinks.into_iter().for_each(|sink: RosSink| sink.destroy(works));
                        return Err(error);
                    }
                }
            }
            Ok(sinks)
        }
    }

    /// Subscribes to all inputs. The intake is a new one, which counts in each camera's health. On an error some may be
    /// open: [`Self::close`] them.
    ///
    /// # Errors
    /// rcl refuses a name or has no resources left.
    pub async fn open(&self, spin: &Spin) -> Result<Arc<RosIntake>, NodeError> {
        let intake = Arc::new(Intake::new(self.healths()));
        let now = Instant::now();
        self.0.iter().for_each(|camera| camera.health.resumed(now));
        let all: Vec<_> = self.0.iter().map(|camera| (camera.inputs.clone(), camera.topic.clone())).collect();
        let offered = intake.clone();
        // One call for all: each would wait for a turn of the ROS thread.
        spin.call(move |works| {
            let open = |(place, (inputs, topic)): (usize, &(Inputs, CameraTopic))| {
                inputs.open(works, topic, Seat { place, intake: offered.clone() })
            };
            let opened = all.iter().enumerate().try_for_each(open);
            if opened.is_ok() {
                // Outputs are there since configure: now every topic is.
                works.qos.tell_strays();
            }
            opened
        })
        .await??;
        Ok(intake)
    }

    /// Forgets the depth images that wait. Calibrations stay: they may be latched and come but once, and those of another
    /// camera are refused by their frame or size.
    pub fn forget_depth(&self) {
        let all = self.0.iter().filter_map(|camera| camera.inputs.depth.as_ref());
        all.for_each(|depth| depth.inbox.clear());
    }

    /// Takes nothing in any more.
    pub fn close(&self) {
        self.0.iter().for_each(|camera| camera.inputs.close());
    }

    /// A camera's place; an empty name is that of the only one.
    ///
    /// # Errors
    /// There is no such camera; which there are.
    pub fn place(&self, name: &str) -> Result<usize, String> {
        self.0.iter().position(|camera| camera.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.0.iter().map(|camera| camera.name.as_str()).collect();
            match *names {
                [""] => format!("camera: there is no {name:?}; the node has one camera, whose name is empty"),
                _ => format!("camera: there is no {name:?}, only {}", names.join(", ")),
            }
        })
    }

    /// Their image topics, for the log; where depth is in use, with what the pictures are taken for.
    pub fn topics(&self) -> String {
        let described = |Camera { topic, inputs, .. }: &Camera| match inputs.depth {
            Some(_) => format!("{} (taken as {})", topic.resolved, topic.rectification.name()),
            None => topic.resolved.clone(),
        };
        self.0.iter().map(described).collect::<Vec<_>>().join(", ")
    }
}

/// Where a camera's images go.
struct Seat {
    place: usize,
    intake: Arc<RosIntake>,
}

impl Camera {
    fn new(name: &str, works: &mut Works, args: &RosArgs, settings: &NodeSettings) -> Self {
        let names = CameraNames::new(name);
        let topic = CameraTopic::new(&names.input(IMAGE), args, settings);
        let depth = || Depth {
            images: Inlet::new(names.input(DEPTH)),
            inbox: Arc::default(),
            max_pixels: settings.max_image_pixels,
        };
        Self {
            name: name.to_owned(),
            health: Arc::new(Health::of_camera(name, Instant::now())),
            requested: qos::matching(&works.qos.subscription(&topic.subscribed, qos::input(topic.reliability))),
            graph: works.watch(topic.resolved.clone()),
            inputs: Inputs {
                images: Inlet::new(topic.subscribed.clone()),
                calibrations: Inlet::new(names.input(CAMERA_INFO)),
                known: Calibrations::default(),
                depth: settings.use_depth.then(depth),
            },
            topic,
            names,
        }
    }

    fn sink_inputs(&self) -> SinkInputs {
        let source = |depth: &Depth| depth::Source {
            inbox: depth.inbox.clone(),
            rectification: self.topic.rectification,
            health: self.health.clone(),
        };
        SinkInputs {
            names: self.names.clone(),
            calibrations: self.inputs.known.clone(),
            depth: self.inputs.depth.as_ref().map(source),
        }
    }

    /// Why the last picture's regions had no 3D, where they should have.
    pub fn depth_trouble(&self) -> Option<String> {
        self.inputs.depth.as_ref()?.inbox.trouble()
    }

    /// Depth's stamps less the pictures', in the median [ms]; None before the first, and where depth is not in use.
    pub fn depth_offset_millis(&self) -> Option<f64> {
        self.inputs.depth.as_ref()?.inbox.median_offset_millis()
    }

    /// What the middleware knows about its images.
    pub fn facts(&self, clock_started: bool) -> InputFacts {
        InputFacts {
            input: self.names.input(IMAGE),
            topic: self.topic.resolved.clone(),
            message_type: self.topic.message_type.to_owned(),
            requested: self.requested,
            publishers: self.graph.publishers(),
            clock_started,
        }
    }
}

impl Inputs {
    fn open(&self, works: &mut Works, topic: &CameraTopic, seat: Seat) -> Result<(), NodeError> {
        let (known, transport) = (self.known.clone(), topic.transport);
        if let Some(Depth { images, inbox, max_pixels }) = &self.depth {
            let subscribe =
                |node: &mut r2r::Node, name: &str, qos| node.subscribe_raw(name, "sensor_msgs/msg/Image", qos);
            images.open(works, qos::beside_pictures(), subscribe, depth::receiver(inbox.clone(), *max_pixels))?;
        }
        self.images.open(
            works,
            qos::input(topic.reliability),
            |node, name, qos| node.subscribe_raw(name, topic.message_type, qos),
            move |bytes| {
                seat.intake.offer(seat.place, CameraMessage { transport, bytes, received: Instant::now() });
            },
        )?;
        self.calibrations.open(
            works,
            qos::beside_pictures(),
            |node, name, qos| node.subscribe(name, qos),
            move |camera_info| known.offer(camera_info),
        )
    }

    fn close(&self) {
        self.images.close();
        self.calibrations.close();
        if let Some(depth) = &self.depth {
            depth.images.close();
        }
    }
}
