//! What the node's work needs, whatever state the node is in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use r2r::{Publisher, looptrans_ros::msg::LabelInfo};
use tokio::sync::watch;

use super::{
    NodeError,
    camera::Cameras,
    clock::RosClock,
    door::Door,
    models::Models,
    parameters::Parameters,
    publish::{self, RosSink},
    qos,
    spin::{Spin, Works},
    status,
};
use crate::{
    config::NodeSettings,
    robot::{Summary, watchdog::Pulse},
};

/// What the work needs, and what others may know of it. Lives as long as the node.
pub struct Workplace {
    /// The way to the ROS thread.
    pub spin: Spin,
    /// The ROS clock.
    pub clock: RosClock,
    /// The node's cameras.
    pub cameras: Cameras,
    /// The settings in force; see [`crate::robot::run`].
    pub settings: watch::Receiver<Arc<NodeSettings>>,
    /// What is known of the model.
    pub models: Arc<Models>,
    /// The parameters and their services.
    pub parameters: Arc<Parameters>,
    /// The way to the loop, while active.
    pub door: Door,
    /// Beats while a model is being loaded, but for engines that are built aside.
    pub loading: Arc<Pulse>,
}

/// `~/label_info`. One publishes at a time, so that the newest model's labels are the last.
#[derive(Clone)]
pub struct Labels(Arc<Mutex<Publisher<LabelInfo>>>);

impl Workplace {
    /// What the node's whole life came to; None if it never had a model.
    pub fn summary(&self) -> Option<Summary> {
        let last = self.models.last()?;
        Some(Summary::of(&self.cameras.healths(), last.id.clone(), last.provider.used.name().to_owned()))
    }

    /// The settings in force.
    pub fn current_settings(&self) -> Arc<NodeSettings> {
        self.settings.borrow().clone()
    }

    /// Creates the output topics: each camera's, and the one for all. On an error there are none.
    ///
    /// # Errors
    /// rcl refuses a name or has no resources left.
    pub async fn create_topics(&self, model_id: String) -> Result<(Vec<RosSink>, Labels), NodeError> {
        let create_sinks = self.cameras.sinks(self.current_settings(), model_id);
        let topics = self.spin.call(move |works| {
            let sinks = create_sinks(works)?;
            match publish::create(works, "~/label_info", qos::latched()) {
                Ok(label_info) => Ok((sinks, Labels(Arc::new(Mutex::new(label_info))))),
                Err(error) => {
                    sinks.into_iter().for_each(|sink| sink.destroy(works));
                    Err(error)
                }
            }
        });
        Ok(topics.await??)
    }
}

impl Labels {
    /// Tells of the model that is loaded.
    pub fn publish(&self, place: &Workplace) {
        let publisher = self.publisher();
        let Some(facts) = place.models.loaded() else { return };
        let threshold = place.current_settings().heat_threshold;
        let labels = status::labels(place.clock.now(), &facts, threshold);
        if let Err(error) = publish::publish(&publisher, "~/label_info", &labels) {
            tracing::warn!("{error}");
        }
    }

    /// Ends the topic; on the ROS thread.
    pub fn destroy(&self, works: &mut Works) {
        let publisher = self.publisher().clone();
        works.node.destroy_publisher(publisher);
    }

    // Only used, never changed: a panic elsewhere does no harm.
    fn publisher(&self) -> MutexGuard<'_, Publisher<LabelInfo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
