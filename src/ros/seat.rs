//! The supervisor of accelerators in the node: how it reaches what works, and how the node hears of it.
//!
//! ```text
//! supervisor's thread: RosSeat::put, release -> SeatRequest -> main: Holding::serve -> what is held, or an order to the loop
//!                      and back: what worked before, to be freed on the supervisor's thread
//! ```
//!
//! The thread waits for its answers and never for ever: a transition comes to its end, the loop obeys every order it has
//! accepted, and where a [`Supervision`] ends, so do all its requests.

use std::{io, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    perceive::{infer::Released, pipeline::Pipeline},
    robot::{
        Engine,
        accelerator::{ModelWorkshop, NotPlaced, Reporter, Seat, Standing, Started, Supervisor},
        watchdog::Pulse,
    },
};

/// How long the end of a supervision waits for a load that can't be interrupted.
const END: Duration = Duration::from_secs(3);

/// What the supervisor asks of the node. A request that is dropped was not done.
pub enum SeatRequest {
    /// To put this to work.
    Put {
        /// The model that works, on other hardware or loaded anew.
        pipeline: Box<Pipeline>,
        /// Gets what worked before.
        done: oneshot::Sender<Engine>,
    },
    /// To have what works let go of the hardware.
    Release {
        /// Gets what is to be freed.
        done: oneshot::Sender<Released>,
    },
}

/// The node's seat.
struct RosSeat {
    requests: mpsc::UnboundedSender<SeatRequest>,
    /// Beats while hardware is let go of, too: nothing runs from then on.
    loading: Arc<Pulse>,
}

impl Seat<Box<Pipeline>> for RosSeat {
    fn put(&mut self, pipeline: Box<Pipeline>) -> Result<Option<Box<Pipeline>>, NotPlaced> {
        let (done, before) = oneshot::channel();
        let gone = || NotPlaced("the node works with another model by now, or with none".to_owned());
        self.requests.send(SeatRequest::Put { pipeline, done }).map_err(|_| gone())?;
        before.blocking_recv().map(|engine| Some(engine.pipeline)).map_err(|_| gone())
    }

    fn release(&mut self) {
        let _beat = self.loading.begin();
        let (done, released) = oneshot::channel();
        if self.requests.send(SeatRequest::Release { done }).is_ok() {
            drop(released.blocking_recv());
        }
    }
}

/// A supervisor at work, as the node holds it beside the model.
pub struct Supervision {
    supervisor: Supervisor,
    requests: mpsc::UnboundedReceiver<SeatRequest>,
    standing: watch::Receiver<Standing>,
    /// [`Said::GaveUp`] was said.
    gave_up: bool,
}

/// What the node hears of it.
pub enum Said {
    /// It asks for this.
    Request(SeatRequest),
    /// The model runs nowhere any more. Said once.
    GaveUp,
    /// Its thread has ended by itself.
    Ended,
}

impl Supervision {
    /// Begins it. `loading` beats while nothing runs.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn begin(started: Started<ModelWorkshop>, loading: Arc<Pulse>) -> io::Result<(Box<Pipeline>, Self)> {
        let (sender, requests) = mpsc::unbounded_channel();
        let (pipeline, supervisor) = started.supervise(RosSeat { requests: sender, loading })?;
        let standing = supervisor.standing();
        Ok((pipeline, Self { supervisor, requests, standing, gave_up: false }))
    }

    /// For the loop.
    pub fn reporter(&self) -> Reporter {
        self.supervisor.reporter()
    }

    /// What is to be told.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Why the model runs nowhere any more; None: it does, or it is being seen to.
    pub fn why_gave_up(&self) -> Option<String> {
        let standing = self.standing.borrow();
        standing.sentence().filter(|_| standing.gave_up)
    }

    /// Waits for what it says next. Nothing is lost where the waiting is given up.
    pub async fn next(&mut self) -> Said {
        let Self { requests, standing, gave_up, .. } = self;
        tokio::select! {
            request = requests.recv() => request.map_or(Said::Ended, Said::Request),
            Ok(_) = standing.wait_for(|standing| standing.gave_up), if !*gave_up => {
                *gave_up = true;
                Said::GaveUp
            }
        }
    }

    /// Ends it, with all its requests. Takes a while where something is being loaded: not on a thread that answers requests.
    pub fn end(self) {
        let Self { supervisor, requests, .. } = self;
        drop(requests);
        if !supervisor.stop(END) {
            tracing::warn!("what is being loaded can't be interrupted: it is finished first, and never put to work");
        }
    }
}
