//! The library's `tracing` events as ROS 2 log messages: on stderr in ROS's own format, and on `/rosout`.
//!
//! rcl's console handler writes them and applies `--log-level`; until the node exists events go to stderr directly.
//! `/rosout` is published here: since Jazzy creating its publisher is the client library's task, and r2r does not.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::{Mutex, OnceLock, PoisonError},
};

use r2r::{Node, Publisher, QosProfile, rcl_interfaces::msg::Log};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{EnvFilter, Layer, layer::Context, layer::SubscriberExt, util::SubscriberInitExt};

use super::{NodeError, clock::RosClock, regions};
use crate::message::text::{MAX_LOG_BYTES, clean_prefix};

/// What is formatted at all, unless RUST_LOG says otherwise. rcl decides by `--log-level` what is shown of it.
const DEFAULT_FILTER: &str = "warn,looptrans_ros=debug,affordance_node=debug";
/// rcl's own `/rosout`: reliable, for those who come late too, for ten seconds.
const ROSOUT_SECONDS: u64 = 10;
const ROSOUT_DEPTH: usize = 100;

/// The node's logger; set once there is a node.
static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    name: String,
    rosout: Mutex<Publisher<Log>>,
    clock: RosClock,
}

/// Sends all events of this process to ROS's log. Later calls change nothing.
pub fn install() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // Fails only when a subscriber is already set: then logs go there.
    let _ = tracing_subscriber::registry().with(filter).with(RosLog).try_init();
}

/// From now on events carry the node's logger name and reach `/rosout`.
///
/// # Errors
/// The topic cannot be created.
pub fn use_logger_of(node: &mut Node) -> Result<(), NodeError> {
    let qos = QosProfile::default()
        .keep_last(ROSOUT_DEPTH)
        .reliable()
        .transient_local()
        .lifespan(std::time::Duration::from_secs(ROSOUT_SECONDS));
    let rosout = node
        .create_publisher("/rosout", qos)
        .map_err(|error| NodeError::Ros { step: "publish /rosout".to_owned(), cause: error.to_string() })?;
    let name = clean_prefix(node.logger().as_bytes(), MAX_LOG_BYTES).to_owned();
    // A second node in one process would log under the first one's name.
    let _ = LOGGER.set(Logger { name, rosout: Mutex::new(rosout), clock: RosClock::of(node) });
    Ok(())
}

struct RosLog;

impl<S: Subscriber> Layer<S> for RosLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = clean_prefix(line.text.as_bytes(), MAX_LOG_BYTES);
        let metadata = event.metadata();
        match LOGGER.get() {
            Some(logger) => logger.log(metadata, text),
            // A closed stderr must not stop a robot: the error is ignored.
            None if *metadata.level() <= Level::INFO => {
                drop(writeln!(std::io::stderr(), "[{}] [{}]: {text}", metadata.level(), super::NODE_NAME));
            }
            None => {}
        }
    }
}

impl Logger {
    fn log(&self, metadata: &Metadata<'_>, text: &str) {
        let name = self.name.as_str();
        match *metadata.level() {
            Level::ERROR => r2r::log_error!(name, "{text}"),
            Level::WARN => r2r::log_warn!(name, "{text}"),
            Level::INFO => r2r::log_info!(name, "{text}"),
            _ => return r2r::log_debug!(name, "{text}"),
        }
        // What the `log` crate brings comes from r2r, which also logs when publishing fails: no circles.
        if metadata.target() != "log" {
            self.publish(metadata, text);
        }
    }

    fn publish(&self, metadata: &Metadata<'_>, text: &str) {
        let log = Log {
            stamp: regions::time(self.clock.now()),
            level: match *metadata.level() {
                Level::ERROR => Log::ERROR as u8,
                Level::WARN => Log::WARN as u8,
                _ => Log::INFO as u8,
            },
            name: self.name.clone(),
            msg: text.to_owned(),
            file: metadata.file().unwrap_or_default().to_owned(),
            function: metadata.target().to_owned(),
            line: metadata.line().unwrap_or_default(),
        };
        // Fails while the node is being taken down; the console has it.
        let _ = self.rosout.lock().unwrap_or_else(PoisonError::into_inner).publish(&log);
    }
}

/// The message, then the fields as ` key=value`.
#[derive(Default)]
struct Line {
    text: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => {
                let fields = std::mem::take(&mut self.text);
                write!(self.text, "{value:?}{fields}")
            }
            // What `log` records carry about their place in the source.
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.text, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
