//! The one road by which another pipeline is put to work, whoever made it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{At, Held, Holding};
use crate::{
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

/// Why an engine is not put to work.
struct Refused {
    engine: Engine,
    reason: String,
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
        let (done, before) = oneshot::channel();
        match self.put(engine, facts.clone(), done) {
            Ok(held) => {
                held.folder.clone_from(&facts.folder);
                Ok(Before { supervision: std::mem::replace(&mut held.supervision, supervision), engine: before })
            }
            Err(Refused { engine, reason }) => {
                let model = Box::new(Supervised { engine, supervision, facts });
                Err(NotSwapped { model, reason })
            }
        }
    }

    /// Does what the supervisor asks for, or has the loop do it between two frames. What can't be done is dropped.
    pub fn serve(&mut self, request: SeatRequest) {
        let Some((held, at)) = &mut self.model else { return };
        match (request, at) {
            (SeatRequest::Put { pipeline, done }, _) => {
                let facts = ModelFacts::of(&pipeline, held.folder.clone(), held.supervision.standing());
                let engine = Engine { pipeline, reporter: Some(held.supervision.reporter()) };
                if let Err(Refused { reason, .. }) = self.put(engine, Arc::new(facts), done) {
                    tracing::warn!("{reason}");
                }
            }
            (SeatRequest::Release { done }, At::Rest(loaded)) => {
                // Who does not wait for it lets it be freed here.
                let _ = done.send(loaded.engine.pipeline.release());
            }
            // Refused only while the loop ends: the receiver tells.
            (SeatRequest::Release { done }, At::Loop(running)) => {
                drop(running.intake.order(Order::Release { done }));
            }
        }
    }

    fn put(
        &mut self,
        engine: Engine,
        facts: Arc<ModelFacts>,
        done: oneshot::Sender<Engine>,
    ) -> Result<&mut Held, Refused> {
        let Some((held, at)) = &mut self.model else {
            return Err(Refused { engine, reason: "no model is loaded any more: configure the node".to_owned() });
        };
        let coming = match self.place.parameters.expect_model(&facts) {
            Ok(coming) => coming,
            Err(reason) => return Err(Refused { engine, reason }),
        };
        let (place, labels, id) = (self.place.clone(), held.labels.clone(), facts.id.clone());
        let announce = move || {
            place.models.set(Some(facts.clone()));
            labels.publish(&place);
            place.parameters.model_is(facts.folder.as_deref());
            drop(coming);
        };
        match at {
            At::Rest(loaded) => {
                let before = std::mem::replace(&mut loaded.engine, engine);
                loaded.sinks.iter_mut().for_each(|sink| sink.model_changed(&id));
                announce();
                // Who does not wait for it lets it be freed here.
                let _ = done.send(before);
            }
            At::Loop(running) => {
                // Refused only while the loop ends: the receiver tells.
                drop(running.intake.order(Order::Swap(Swap { engine, announce: Box::new(announce), done })));
            }
        }
        Ok(held)
    }
}
