//! The watchdog over the node's own work: the model's frames, and its loading.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{NodeError, workplace::Workplace};
use crate::{
    config::NodeSettings,
    robot::watchdog::{self, Alarm, Hung, Pulse, Watched, load_limit},
};

/// Watches until the process ends. The receiver hears what hangs; `last_resort` is called when the process is still there
/// [a while](watchdog) after that.
///
/// # Errors
/// The system gives no thread.
pub fn keep(place: &Arc<Workplace>, last_resort: fn() -> !) -> Result<oneshot::Receiver<Hung>, NodeError> {
    let watched = |what: &str, limited_by, pulse: &Arc<Pulse>, limit: fn(&NodeSettings) -> Duration| {
        let settings = place.settings.clone();
        let limit = Box::new(move || limit(&settings.borrow()));
        Watched { what: what.to_owned(), limited_by, pulse: pulse.clone(), limit }
    };
    let frames = place.cameras.iter().map(|camera| {
        let frame = format!("the model's work on a frame of {}", camera.topic.resolved);
        watched(&frame, "inference_timeout", camera.health.pulse(), |s| s.inference_timeout)
    });
    let loading =
        watched("loading the model", "60 times inference_timeout", &place.loading, |s| load_limit(s.inference_timeout));
    let all = frames.chain([loading]).collect();
    let (sender, hung) = oneshot::channel();
    let alarm = Alarm { tell: Box::new(move |verdict| sender.send(verdict).is_ok()), last_resort };
    watchdog::start(all, alarm).map_err(|source| NodeError::System { what: "the watchdog", source })?;
    Ok(hung)
}
