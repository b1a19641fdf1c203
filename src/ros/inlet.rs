//! A subscription that can be opened and closed again and again.
//!
//! r2r destroys a dropped subscription only when its next message comes. So a closed inlet keeps its subscription until a
//! message comes, and drops it then; one that is opened before takes it up again. Where nothing is sent nothing piles up,
//! and where much is sent a closed inlet costs nothing after two messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::Stream;
use r2r::{Node, QosProfile};

use super::{NodeError, spin::Works};

/// What is done with a message, on the ROS thread.
type Act<T> = Box<dyn FnMut(T) + Send>;

/// One topic's messages, while open.
pub struct Inlet<T> {
    topic: String,
    place: Arc<Mutex<Place<T>>>,
}

// Derived, it would ask for messages that can be cloned.
impl<T> Clone for Inlet<T> {
    fn clone(&self) -> Self {
        Self { topic: self.topic.clone(), place: self.place.clone() }
    }
}

struct Place<T> {
    /// None: closed.
    act: Option<Act<T>>,
    /// r2r still has a subscription whose messages come here.
    is_subscribed: bool,
}

impl<T: Send + 'static> Inlet<T> {
    /// A closed one. `topic` is the name to subscribe to, which rcl remaps.
    pub fn new(topic: String) -> Self {
        Self { topic, place: Arc::new(Mutex::new(Place { act: None, is_subscribed: false })) }
    }

    /// From now on messages go to `act`, which must not wait. `own` is the topic's quality of service, unless
    /// `qos_overrides` say otherwise.
    ///
    /// # Errors
    /// rcl refuses the name or has no resources left.
    pub fn open<S>(
        &self,
        works: &mut Works,
        own: QosProfile,
        subscribe: impl FnOnce(&mut Node, &str, QosProfile) -> r2r::Result<S>,
        act: impl FnMut(T) + Send + 'static,
    ) -> Result<(), NodeError>
    where
        S: Stream<Item = T> + Unpin + Send + 'static,
    {
        if !self.place().is_subscribed {
            let qos = works.qos.subscription(&self.topic, own);
            let messages = subscribe(&mut works.node, &self.topic, qos).map_err(|error| NodeError::Ros {
                step: format!("subscribe to {}", self.topic),
                cause: error.to_string(),
            })?;
            let inlet = self.clone();
            works.pump(messages, move |message| inlet.take(message));
        }
        *self.place() = Place { act: Some(Box::new(act)), is_subscribed: true };
        Ok(())
    }

    /// Messages that come later are ignored. After this returns the act of [`Self::open`] has run for the last time.
    pub fn close(&self) {
        self.place().act = None;
    }

    /// False ends the subscription.
    fn take(&self, message: T) -> bool {
        let mut place = self.place();
        match &mut place.act {
            Some(act) => act(message),
            None => place.is_subscribed = false,
        }
        place.is_subscribed
    }

    // Changes are single assignments: a panic elsewhere leaves nothing half-done.
    fn place(&self) -> MutexGuard<'_, Place<T>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
