//! The node's own services: `~/detect`, `~/set_model`, `~/enable`, `~/reset`.
//!
//! Nothing here waits on the ROS thread or the loop's: requests are answered by tasks, models are loaded on a thread of
//! their own, and the loop is told through the [`super::door::Door`] what to do between two frames.

mod detect;
mod set_model;

use std::{future::Future, sync::Arc, time::Instant};

use r2r::{
    WrappedServiceTypeSupport,
    looptrans_ros::srv::{Detect, SetModel},
    std_srvs::srv::{SetBool, Trigger},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use self::set_model::NewModel;
use super::{
    NodeError,
    camera::RosIntake,
    lifecycle::{Managed, respond_to},
    publish::Answer,
    spin::{Requests, Works},
    workplace::Workplace,
};
use crate::{
    message::text::{MAX_LOG_BYTES, clean_prefix},
    robot::{Order, lifecycle::State},
};

const DETECT: &str = "~/detect";
const SET_MODEL: &str = "~/set_model";
const ENABLE: &str = "~/enable";
const RESET: &str = "~/reset";

/// Requests that wait for the loop at one time. While a run of the model does not end, clients that go on asking would fill the
/// memory. More than the loop lets wait for a frame, so that it says itself why it refuses.
const MOST_AT_ONCE: usize = 64;

/// The services, not answered yet.
pub struct Services {
    detects: Requests<Detect::Service>,
    models: Requests<SetModel::Service>,
    enables: Requests<SetBool::Service>,
    resets: Requests<Trigger::Service>,
}

/// What answers are made from.
#[derive(Clone)]
struct Desk {
    place: Arc<Workplace>,
    managed: Arc<Managed>,
    /// Of [`MOST_AT_ONCE`].
    turns: Arc<Semaphore>,
}

impl Services {
    /// Offers them.
    ///
    /// # Errors
    /// rcl refuses a name or has no resources left.
    pub fn create(works: &mut Works) -> Result<Self, NodeError> {
        Ok(Self {
            detects: works.serve(DETECT)?,
            models: works.serve(SET_MODEL)?,
            enables: works.serve(ENABLE)?,
            resets: works.serve(RESET)?,
        })
    }

    /// Answers from now on. Models that are to be put to work come out of the receiver. Needs a tokio runtime.
    pub fn answer(self, place: &Arc<Workplace>, managed: &Arc<Managed>) -> mpsc::Receiver<NewModel> {
        let turns = Arc::new(Semaphore::new(MOST_AT_ONCE));
        let desk = Desk { place: place.clone(), managed: managed.clone(), turns };
        let (loader, new_models) = set_model::Loader::new(desk.clone());
        each(self.detects, DETECT, {
            let desk = desk.clone();
            move |request| detect::answer(desk.clone(), request)
        });
        each(self.models, SET_MODEL, move |request| loader.clone().answer(request));
        each(self.enables, ENABLE, {
            let desk = desk.clone();
            move |request: SetBool::Request| {
                let result = desk.enable(request.data);
                async move {
                    let (success, message) = told(result);
                    SetBool::Response { success, message }
                }
            }
        });
        each(self.resets, RESET, move |_| {
            let desk = desk.clone();
            async move {
                let (success, message) = told(desk.reset().await);
                Trigger::Response { success, message }
            }
        });
        new_models
    }
}

/// Answers every request in a task of its own, so that one that waits keeps nobody else waiting.
fn each<T, F>(mut requests: Requests<T>, name: &'static str, answer: impl Fn(T::Request) -> F + Send + 'static)
where
    T: WrappedServiceTypeSupport + 'static,
    T::Request: Send + Clone,
    F: Future<Output = T::Response> + Send + 'static,
{
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let response = answer(request.message.clone());
            tokio::spawn(async move { respond_to(request, name, response.await) });
        }
    });
}

impl Desk {
    /// The way to the loop.
    ///
    /// # Errors
    /// The node is not active: in what state it is, and what to do.
    fn intake(&self) -> Result<Arc<RosIntake>, String> {
        self.place.door.intake().ok_or_else(|| match self.managed.state() {
            State::Unconfigured => "the node is unconfigured: configure and activate it first".to_owned(),
            State::Inactive => "the node is inactive: activate it first".to_owned(),
            State::Finalized => "the node is finalized: start it anew".to_owned(),
            state => format!("the node is {state}: ask again when it is active"),
        })
    }

    fn enable(&self, is_on: bool) -> Result<String, String> {
        let intake = self.intake()?;
        if is_on && !intake.is_enabled() {
            // Silence counts from now on.
            intake.healths().for_each(|health| health.resumed(Instant::now()));
        }
        intake.set_enabled(is_on);
        let said = if is_on { "enabled: frames are processed" } else { "disabled: frames are dropped and counted" };
        tracing::info!("{said}, by {ENABLE}");
        Ok(said.to_owned())
    }

    async fn reset(&self) -> Result<String, String> {
        let intake = self.intake()?;
        self.place.cameras.forget_depth();
        let (done, is_done) = oneshot::channel();
        self.asked(&intake, Order::Reset { done }, is_done).await?;
        tracing::info!("counters and what was learnt of the streams begin anew, by {RESET}");
        Ok("counters, rhythms and depth images begin anew".to_owned())
    }

    /// What the loop answers to this order.
    async fn asked<T>(
        &self,
        intake: &RosIntake,
        order: Order<Answer>,
        answer: oneshot::Receiver<T>,
    ) -> Result<T, String> {
        let busy = |_| format!("busy: {MOST_AT_ONCE} requests wait already; ask again when some of them are answered");
        let _turn = self.turns.try_acquire().map_err(busy)?;
        // Refused only while the loop ends: the receiver tells.
        drop(intake.order(order));
        answer.await.map_err(|_| self.gone())
    }

    /// The loop has ended before it answered.
    fn gone(&self) -> String {
        format!("the node was deactivated meanwhile; it is {}", self.managed.state())
    }
}

/// `success` and `message`.
fn told(result: Result<String, String>) -> (bool, String) {
    match result {
        Ok(message) => (true, clean(&message)),
        Err(message) => (false, clean(&message)),
    }
}

/// What a message's string can hold, in one line.
fn clean(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    clean_prefix(line.as_bytes(), MAX_LOG_BYTES).to_owned()
}
