//! The one road by which another pipeline is put to work, whoever made it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{At, Holding};
use crate::{
    perceive::infer::Released,
    robot::{Engine, Order, Sink, Swap},
    ros::{
        load::Supervised,
        models::ModelFacts,
        seat::{SeatRequest, Supervision},
    },
};

/// Why a model was not swapped in. What was held is held as before.
pub struct NotSwapped {
    /// The one that is not used. Freeing it takes a while.
    pub model: Box<Supervised>,
    /// In words.
    pub reason: String,
}

/// What a swap leaves, to be ended and freed on a thread that may take its time.
pub struct Before {
    /// The supervision of the model before.
    pub supervision: Supervision,
    /// Gives that model. Fails where the loop breaks first.
    pub engine: oneshot::Receiver<Engine>,
}

impl Holding {
    /// Puts another model to work, which is loaded, checked and made for the settings in force: at once, or between two
    /// frames of the loop. Before the first frame of it `~/label_info` tells of it. Its supervision replaces the one of the
    /// model before.
    ///
    /// # Errors
    /// Nothing is loaded, or the settings have changed so that they do not fit the model.
    pub fn swap_model(&mut self, model: Supervised) -> Result<Before, NotSwapped> {
        let Supervised { engine, supervision, facts } = model;
        let refused = |engine, supervision, facts, reason| {
            let model = Box::new(Supervised { engine, supervision, facts });
            Err(NotSwapped { model, reason })
        };
        let Some((held, at)) = &mut self.model else {
            let reason = "no model is loaded any more: configure the node".to_owned();
            return refused(engine, supervision, facts, reason);
        };
        let coming = match self.place.parameters.expect_model(&facts) {
            Ok(coming) => coming,
            Err(reason) => return refused(engine, supervision, facts, reason),
        };
        held.folder.clone_from(&facts.folder);
        let supervision_before = std::mem::replace(&mut held.supervision, supervision);
        let (place, labels) = (self.place.clone(), held.labels.clone());
        let announce = move || {
            place.models.set(Some(facts.clone()));
            labels.publish(&place);
            place.parameters.model_is(facts.folder.as_deref());
            drop(coming);
        };
        let (done, before) = oneshot::channel();
        at.put(Swap { engine, announce: Box::new(announce), done });
        Ok(Before { supervision: supervision_before, engine: before })
    }

    /// Does what the supervisor asks for, or has the loop do it between two frames. What can't be done is dropped.
    pub fn serve(&mut self, request: SeatRequest) {
        let Some((held, at)) = &mut self.model else { return };
        match request {
            SeatRequest::Put { pipeline, done } => {
                // The same model: its labels and the parameters stay.
                let facts = Arc::new(ModelFacts::of(&pipeline, held.folder.clone(), held.supervision.standing()));
                let models = self.place.models.clone();
                let announce = Box::new(move || models.set(Some(facts)));
                let engine = Engine { pipeline, reporter: Some(held.supervision.reporter()) };
                at.put(Swap { engine, announce, done });
            }
            SeatRequest::Release { done } => at.release(done),
        }
    }
}

impl At {
    fn put(&mut self, Swap { engine, announce, done }: Swap) {
        match self {
            Self::Rest(loaded) => {
                let before = std::mem::replace(&mut loaded.engine, engine);
                let id = loaded.engine.pipeline.contract().model_id();
                loaded.sinks.iter_mut().for_each(|sink| sink.model_changed(&id));
                announce();
                // Who does not wait for it lets it be freed here.
                let _ = done.send(before);
            }
            // Refused only while the loop ends: the receiver tells.
            Self::Loop(running) => drop(running.intake.order(Order::Swap(Swap { engine, announce, done }))),
        }
    }

    fn release(&mut self, done: oneshot::Sender<Released>) {
        match self {
            // Who does not wait for it lets it be freed here.
            Self::Rest(loaded) => drop(done.send(loaded.engine.pipeline.release())),
            Self::Loop(running) => drop(running.intake.order(Order::Release { done })),
        }
    }
}
