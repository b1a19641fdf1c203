//! The lifecycle services and `~/transition_event`, as rclcpp's lifecycle nodes offer them, over [`Lifecycle`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use r2r::{
    Publisher, QosProfile, ServiceRequest, WrappedServiceTypeSupport,
    lifecycle_msgs::{
        msg::{State as StateMsg, Transition as TransitionMsg, TransitionDescription, TransitionEvent},
        srv::{ChangeState, GetAvailableStates, GetAvailableTransitions, GetState},
    },
};

use super::{
    NodeError,
    clock::RosClock,
    publish,
    spin::{Requests, Works},
};
use crate::robot::lifecycle::{Lifecycle, NotPossible, Outcome, STATES, State, TRANSITIONS, Transition};

/// A request that is answered once its transition has ended.
pub type ChangeRequest = ServiceRequest<ChangeState::Service>;

/// The node's state, told to everybody who asks or listens.
pub struct Managed {
    lifecycle: Mutex<Lifecycle>,
    /// r2r's publishers are not Sync.
    events: Mutex<Publisher<TransitionEvent>>,
    clock: RosClock,
}

impl Managed {
    /// Offers the services. Requests to change the state come out of the receiver; everything else is answered here.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// rcl refuses a name or has no resources left.
    pub fn create(
        works: &mut Works,
        clock: RosClock,
    ) -> Result<(Arc<Self>, Requests<ChangeState::Service>), NodeError> {
        let events = publish::create(works, "~/transition_event", QosProfile::default())?;
        let managed = Arc::new(Self { lifecycle: Mutex::default(), events: Mutex::new(events), clock });
        let changes = works.serve::<ChangeState::Service>("~/change_state")?;
        managed.answer::<GetState::Service>(works, "~/get_state", |state| GetState::Response {
            current_state: state_message(state),
        })?;
        managed.answer::<GetAvailableStates::Service>(works, "~/get_available_states", |_| {
            GetAvailableStates::Response { available_states: STATES.into_iter().map(state_message).collect() }
        })?;
        managed.answer::<GetAvailableTransitions::Service>(works, "~/get_available_transitions", |state| {
            GetAvailableTransitions::Response { available_transitions: state.transitions().map(description).collect() }
        })?;
        managed.answer::<GetAvailableTransitions::Service>(works, "~/get_transition_graph", |_| {
            GetAvailableTransitions::Response { available_transitions: TRANSITIONS.iter().map(description).collect() }
        })?;
        Ok((managed, changes))
    }

    /// Where the node is.
    pub fn state(&self) -> State {
        self.lifecycle().state()
    }

    /// Begins a transition and tells of it. See [`Lifecycle::begin`].
    ///
    /// # Errors
    /// There is no such transition from here.
    pub fn begin(&self, id: u8, label: &str) -> Result<State, NotPossible> {
        let transition = self.lifecycle().begin(id, label)?;
        self.tell(transition);
        Ok(transition.goal)
    }

    /// Ends the work of the present state and tells of it. Returns the new state.
    pub fn finish(&self, outcome: Outcome) -> State {
        if let Some(transition) = self.lifecycle().finish(outcome) {
            self.tell(transition);
        }
        self.state()
    }

    fn tell(&self, transition: &Transition) {
        let event = TransitionEvent {
            timestamp: u64::try_from(self.clock.now_nanos()).unwrap_or(0),
            transition: transition_message(transition),
            start_state: state_message(transition.start),
            goal_state: state_message(transition.goal),
        };
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = publish::publish(&events, "~/transition_event", &event) {
            tracing::warn!("{error}");
        }
    }

    fn answer<T>(
        self: &Arc<Self>,
        works: &mut Works,
        name: &'static str,
        respond: impl Fn(State) -> T::Response + Send + 'static,
    ) -> Result<(), NodeError>
    where
        T: WrappedServiceTypeSupport + 'static,
        T::Request: Send,
    {
        let mut requests = works.serve::<T>(name)?;
        let managed = self.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                respond_to(request, name, respond(managed.state()));
            }
        });
        Ok(())
    }

    // Every change is one assignment: a panic elsewhere leaves a whole state.
    fn lifecycle(&self) -> MutexGuard<'_, Lifecycle> {
        self.lifecycle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a request. Who asked may have gone meanwhile: that is no trouble of ours.
pub fn respond_to<T: WrappedServiceTypeSupport + 'static>(
    request: ServiceRequest<T>,
    name: &str,
    response: T::Response,
) {
    if let Err(error) = request.respond(response) {
        tracing::debug!("{name}: the answer did not reach its client: {error}");
    }
}

fn state_message(state: State) -> StateMsg {
    StateMsg { id: state.id(), label: state.label().to_owned() }
}

fn transition_message(transition: &Transition) -> TransitionMsg {
    TransitionMsg { id: transition.id, label: transition.label.to_owned() }
}

fn description(transition: &Transition) -> TransitionDescription {
    TransitionDescription {
        transition: transition_message(transition),
        start_state: state_message(transition.start),
        goal_state: state_message(transition.goal),
    }
}
