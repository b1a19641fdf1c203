//! The states of a managed node and the ways between them, as rcl's lifecycle nodes have them. Pure: it holds a state and
//! says what a request or an outcome makes of it.
//!
//! Ids and labels are those of lifecycle_msgs/State and lifecycle_msgs/Transition and of rcl's default state machine
//! (<https://design.ros2.org/articles/node_lifecycle.html>).

use std::fmt;

use Outcome::{Error, Failure, Success};
use State::{
    Activating, Active, CleaningUp, Configuring, Deactivating, ErrorProcessing, Finalized, Inactive, ShuttingDown,
    Unconfigured,
};

/// A state, with its id in lifecycle_msgs/State.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// No node is ever in it; rcl lists it.
    Unknown = 0,
    /// Nothing is loaded.
    Unconfigured = 1,
    /// The model is loaded; nothing is subscribed to.
    Inactive = 2,
    /// Frames are processed.
    Active = 3,
    /// For good; the process still answers.
    Finalized = 4,
    /// The model is being loaded.
    Configuring = 10,
    /// The model is being freed.
    CleaningUp = 11,
    /// On the way to [`State::Finalized`].
    ShuttingDown = 12,
    /// Inputs are being subscribed to.
    Activating = 13,
    /// The frame at work is being finished.
    Deactivating = 14,
    /// Everything is being let go after an error.
    ErrorProcessing = 15,
}

/// How the work of a transition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done.
    Success,
    /// Not done; everything is as before.
    Failure,
    /// Not done, and what was before cannot be relied on.
    Error,
}

/// One edge of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// As in lifecycle_msgs/Transition.
    pub id: u8,
    /// rcl's label.
    pub label: &'static str,
    /// From here.
    pub start: State,
    /// To there.
    pub goal: State,
    /// None: it may be asked for from outside. Some: it is taken when the work of `start` ends so.
    pub outcome: Option<Outcome>,
}

/// Every state, in rcl's order.
pub static STATES: [State; 11] = [
    State::Unknown,
    Unconfigured,
    Inactive,
    Active,
    Finalized,
    Configuring,
    CleaningUp,
    ShuttingDown,
    Activating,
    Deactivating,
    ErrorProcessing,
];

/// Every transition, in rcl's order.
pub static TRANSITIONS: [Transition; 25] = [
    asked(1, "configure", Unconfigured, Configuring),
    ended(10, Success, Configuring, Inactive),
    ended(11, Failure, Configuring, Unconfigured),
    ended(12, Error, Configuring, ErrorProcessing),
    asked(2, "cleanup", Inactive, CleaningUp),
    ended(20, Success, CleaningUp, Unconfigured),
    ended(21, Failure, CleaningUp, Inactive),
    ended(22, Error, CleaningUp, ErrorProcessing),
    asked(3, "activate", Inactive, Activating),
    ended(30, Success, Activating, Active),
    ended(31, Failure, Activating, Inactive),
    ended(32, Error, Activating, ErrorProcessing),
    asked(4, "deactivate", Active, Deactivating),
    ended(40, Success, Deactivating, Inactive),
    ended(41, Failure, Deactivating, Active),
    ended(42, Error, Deactivating, ErrorProcessing),
    asked(5, "shutdown", Unconfigured, ShuttingDown),
    asked(6, "shutdown", Inactive, ShuttingDown),
    asked(7, "shutdown", Active, ShuttingDown),
    ended(50, Success, ShuttingDown, Finalized),
    ended(51, Failure, ShuttingDown, Finalized),
    ended(52, Error, ShuttingDown, ErrorProcessing),
    ended(60, Success, ErrorProcessing, Unconfigured),
    ended(61, Failure, ErrorProcessing, Finalized),
    ended(62, Error, ErrorProcessing, Finalized),
];

const fn asked(id: u8, label: &'static str, start: State, goal: State) -> Transition {
    Transition { id, label, start, goal, outcome: None }
}

const fn ended(id: u8, outcome: Outcome, start: State, goal: State) -> Transition {
    let label = match outcome {
        Success => "transition_success",
        Failure => "transition_failure",
        Error => "transition_error",
    };
    Transition { id, label, start, goal, outcome: Some(outcome) }
}

impl State {
    /// Its number in messages.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// rcl's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unconfigured => "unconfigured",
            Self::Inactive => "inactive",
            Self::Active => "active",
            Self::Finalized => "finalized",
            Self::Configuring => "configuring",
            Self::CleaningUp => "cleaningup",
            Self::ShuttingDown => "shuttingdown",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::ErrorProcessing => "errorprocessing",
        }
    }

    /// The transitions that leave it.
    pub fn transitions(self) -> impl Iterator<Item = &'static Transition> {
        TRANSITIONS.iter().filter(move |transition| transition.start == self)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What cannot be asked for in a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no transition {asked} from state {state}{}", hint(*state))]
pub struct NotPossible {
    /// The state.
    pub state: State,
    /// Label or id of what was asked for.
    pub asked: String,
}

fn hint(state: State) -> String {
    let labels: Vec<&str> = state.transitions().filter(|t| t.outcome.is_none()).map(|t| t.label).collect();
    if labels.is_empty() { String::new() } else { format!(" (possible: {})", labels.join(", ")) }
}

/// A node's place in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    state: State,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { state: Unconfigured }
    }
}

impl Lifecycle {
    /// Where the node is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Begins the transition that has this label, or where the label is empty this id: rclcpp's rule, since tools that
    /// send a label leave the id 0. The state is then the one in which the work is done; [`Self::finish`] ends it.
    ///
    /// # Errors
    /// There is no such transition from here, or it is not one to ask for. The state stays.
    pub fn begin(&mut self, id: u8, label: &str) -> Result<&'static Transition, NotPossible> {
        let is_meant = |t: &&Transition| if label.is_empty() { t.id == id } else { t.label == label };
        let found = self.state.transitions().filter(|t| t.outcome.is_none()).find(is_meant);
        let asked = || if label.is_empty() { id.to_string() } else { label.chars().take(64).collect() };
        let transition = found.ok_or_else(|| NotPossible { state: self.state, asked: asked() })?;
        self.state = transition.goal;
        Ok(transition)
    }

    /// Ends the work of the present state. None: no work is done in this state.
    pub fn finish(&mut self, outcome: Outcome) -> Option<&'static Transition> {
        let transition = self.state.transitions().find(|t| t.outcome == Some(outcome))?;
        self.state = transition.goal;
        Some(transition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTCOMES: [Outcome; 3] = [Success, Failure, Error];

    fn at(state: State) -> Lifecycle {
        Lifecycle { state }
    }

    /// Goal by (state, request); everything else must be refused. Written down from the design article, apart from the
    /// table above.
    fn asked_goal(state: State, label: &str) -> Option<State> {
        match (state.label(), label) {
            ("unconfigured", "configure") => Some(Configuring),
            ("inactive", "cleanup") => Some(CleaningUp),
            ("inactive", "activate") => Some(Activating),
            ("active", "deactivate") => Some(Deactivating),
            ("unconfigured" | "inactive" | "active", "shutdown") => Some(ShuttingDown),
            _ => None,
        }
    }

    fn ended_goal(state: State, outcome: Outcome) -> Option<State> {
        match (state, outcome) {
            (Configuring, Success) | (Activating, Failure) | (Deactivating, Success) | (CleaningUp, Failure) => {
                Some(Inactive)
            }
            (Configuring, Failure) | (CleaningUp, Success) | (ErrorProcessing, Success) => Some(Unconfigured),
            (Activating, Success) | (Deactivating, Failure) => Some(Active),
            (Configuring | CleaningUp | Activating | Deactivating | ShuttingDown, Error) => Some(ErrorProcessing),
            (ShuttingDown, _) | (ErrorProcessing, _) => Some(Finalized),
            _ => None,
        }
    }

    #[test]
    fn every_request_in_every_state_ends_where_the_design_says() {
        for state in STATES {
            let labels = ["configure", "cleanup", "activate", "deactivate", "shutdown", "transition_success", "", "x"];
            for label in labels {
                let mut node = at(state);
                let goal = asked_goal(state, label);
                assert_eq!(node.begin(0, label).ok().map(|t| t.goal), goal, "{label} in {state}");
                assert_eq!(node.state(), goal.unwrap_or(state), "a refusal changes nothing");
            }
        }
    }

    #[test]
    fn every_outcome_in_every_state_ends_where_the_design_says() {
        for state in STATES {
            for outcome in OUTCOMES {
                let mut node = at(state);
                let goal = ended_goal(state, outcome);
                assert_eq!(node.finish(outcome).map(|t| t.goal), goal, "{outcome:?} in {state}");
                assert_eq!(node.state(), goal.unwrap_or(state));
            }
        }
    }

    #[test]
    fn an_id_works_in_its_own_state_only_and_never_for_an_outcome() {
        for state in STATES {
            for id in 0..=u8::MAX {
                let mut node = at(state);
                let expected = match (state, id) {
                    (Unconfigured, 1) => Some(Configuring),
                    (Inactive, 2) => Some(CleaningUp),
                    (Inactive, 3) => Some(Activating),
                    (Active, 4) => Some(Deactivating),
                    (Unconfigured, 5) | (Inactive, 6) | (Active, 7) => Some(ShuttingDown),
                    _ => None,
                };
                assert_eq!(node.begin(id, "").ok().map(|t| t.goal), expected, "{id} in {state}");
            }
        }
    }

    #[test]
    fn a_label_wins_over_the_id() {
        assert_eq!(at(Inactive).begin(2, "activate").unwrap().id, 3);
    }

    #[test]
    fn a_refusal_says_what_is_possible() {
        let refusal = at(Inactive).begin(0, "configure").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "no transition configure from state inactive (possible: cleanup, activate, shutdown)"
        );
        assert_eq!(at(Configuring).begin(3, "").unwrap_err().to_string(), "no transition 3 from state configuring");
    }

    #[test]
    fn ids_are_unique_and_no_state_but_the_last_is_a_dead_end() {
        let mut ids: Vec<u8> = TRANSITIONS.iter().map(|t| t.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), TRANSITIONS.len());
        let dead_ends: Vec<State> = STATES.into_iter().filter(|state| state.transitions().count() == 0).collect();
        assert_eq!(dead_ends, [State::Unknown, Finalized]);
    }
}
