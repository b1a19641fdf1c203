//! The library's `tracing` events as ROS 2 log messages: one stream on stderr, in ROS's own format, and on `/rosout`.
//!
//! rcl's handlers do both, and apply `--log-level`. Until the node exists events go to stderr directly.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::OnceLock,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{EnvFilter, Layer, layer::Context, layer::SubscriberExt, util::SubscriberInitExt};

use super::text::{MAX_LOG_BYTES, clean_prefix};

/// What is formatted at all, unless RUST_LOG says otherwise. rcl decides by `--log-level` what is shown of it.
const DEFAULT_FILTER: &str = "warn,looptrans_ros=debug,affordance_node=debug";

/// The node's logger; set once there is a node.
static LOGGER: OnceLock<String> = OnceLock::new();

/// Sends all events of this process to ROS's log. Later calls change nothing.
pub fn install() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // Fails only when a subscriber is already set: then logs go there.
    let _ = tracing_subscriber::registry().with(filter).with(RosLog).try_init();
}

/// From now on events carry this logger's name and reach `/rosout`.
pub fn use_logger(name: &str) {
    let _ = LOGGER.set(clean_prefix(name.as_bytes(), MAX_LOG_BYTES).to_owned());
}

struct RosLog;

impl<S: Subscriber> Layer<S> for RosLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = clean_prefix(line.text.as_bytes(), MAX_LOG_BYTES);
        let level = *event.metadata().level();
        match LOGGER.get() {
            Some(logger) => to_ros(level, logger, text),
            // A closed stderr must not stop a robot: the error is ignored.
            None if level <= Level::INFO => drop(writeln!(std::io::stderr(), "[{level}] [affordance_node]: {text}")),
            None => {}
        }
    }
}

fn to_ros(level: Level, logger: &str, text: &str) {
    match level {
        Level::ERROR => r2r::log_error!(logger, "{text}"),
        Level::WARN => r2r::log_warn!(logger, "{text}"),
        Level::INFO => r2r::log_info!(logger, "{text}"),
        _ => r2r::log_debug!(logger, "{text}"),
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
