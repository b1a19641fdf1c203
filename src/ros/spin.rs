//! The thread that owns the r2r node: it receives messages and requests, watches the graph, and creates and drops things
//! for others.
//!
//! `spin_once` cannot be woken, so what is asked of the thread by [`Spin::call`] waits for up to [`WAIT`]. r2r keeps ten
//! messages for whoever reads slowly and loses the newest after that: here each stream is emptied after every turn, of
//! which each receives at most one, so that nothing is lost between the middleware and the receiver.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use futures::{FutureExt, Stream, StreamExt};
use r2r::{ServiceRequest, WrappedServiceTypeSupport};
use tokio::sync::{mpsc as task, oneshot};

use super::{
    NodeError,
    qos::{self, TopicQos},
    topic::MessageBuffer,
};
use crate::robot::PublisherFacts;

/// Longest wait for a message, and so for a command.
const WAIT: Duration = Duration::from_millis(10);
/// How often the publishers of watched topics are looked up.
const LOOK: Duration = Duration::from_millis(500);
/// What rmw calls a node whose name has not been told yet.
const UNKNOWN_NODE: &str = "_NODE_NAME_UNKNOWN_";

/// The publishers on a topic, as last looked up.
#[derive(Debug, Clone, Default)]
pub struct Graph(Arc<Mutex<Vec<PublisherFacts>>>);

impl Graph {
    /// Who publishes.
    pub fn publishers(&self) -> Vec<PublisherFacts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Requests of one service, as they came. Nothing is lost on the way here.
pub type Requests<T> = task::UnboundedReceiver<ServiceRequest<T>>;

/// What the thread works on. Reached through [`Spin::call`].
pub struct Works {
    /// The node. Only this thread may create, destroy or look up anything on it.
    pub node: r2r::Node,
    /// What its topics ask and offer.
    pub qos: TopicQos,
    /// Where their messages are made.
    pub buffer: MessageBuffer,
    pumps: Vec<Pump>,
    watched: Vec<(String, Graph)>,
}

/// Empties one stream; false once it is over.
type Pump = Box<dyn FnMut() -> bool + Send>;
type Command = Box<dyn FnOnce(&mut Works) + Send>;

impl Works {
    /// Takes charge of a node.
    pub fn new(node: r2r::Node, qos: TopicQos) -> Self {
        Self { node, qos, buffer: MessageBuffer::default(), pumps: Vec::new(), watched: Vec::new() }
    }

    /// Gives every message of `stream` to `act` on this thread, which must not wait, until `act` says false. The
    /// subscription behind the stream then ends with the message after that: r2r has no other way.
    pub fn pump<T: 'static>(
        &mut self,
        mut stream: impl Stream<Item = T> + Unpin + Send + 'static,
        mut act: impl FnMut(T) -> bool + Send + 'static,
    ) {
        self.pumps.push(Box::new(move || {
            loop {
                let Some(next) = stream.next().now_or_never() else { return true };
                if !next.is_some_and(&mut act) {
                    return false;
                }
            }
        }));
    }

    /// Serves `name` for as long as the node lives. Whoever holds the receiver answers.
    ///
    /// # Errors
    /// rcl refuses the name or has no resources left.
    pub fn serve<T>(&mut self, name: &str) -> Result<Requests<T>, NodeError>
    where
        T: WrappedServiceTypeSupport + 'static,
    {
        let requests = self
            .node
            .create_service::<T>(name, qos::service())
            .map_err(|error| NodeError::Ros { step: format!("serve {name}"), cause: error.to_string() })?;
        let (sender, receiver) = task::unbounded_channel();
        self.pump(requests, move |request| sender.send(request).is_ok());
        Ok(receiver)
    }

    /// Keeps looking up who publishes on `topic`, an absolute name.
    pub fn watch(&mut self, topic: String) -> Graph {
        let graph = Graph::default();
        self.watched.push((topic, graph.clone()));
        graph
    }

    fn turn(&mut self) {
        self.node.spin_once(WAIT);
        self.pumps.retain_mut(|pump| pump());
    }

    fn look(&self) {
        for (topic, graph) in &self.watched {
            *graph.0.lock().unwrap_or_else(PoisonError::into_inner) = publishers(&self.node, topic);
        }
    }
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Spin {
    commands: mpsc::Sender<Command>,
}

impl Spin {
    /// Runs `act` on the thread, between two turns, and returns what it returns.
    ///
    /// # Errors
    /// [`NodeError::Ended`]: the thread has ended.
    pub fn call<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Works) -> R + Send + 'static,
    ) -> impl Future<Output = Result<R, NodeError>> + Send + 'static {
        let (sender, answer) = oneshot::channel();
        let command: Command = Box::new(move |works| {
            // Nobody waits for the answer any more only while the process ends.
            let _ = sender.send(act(works));
        });
        let sent = self.commands.send(command);
        async move {
            sent.map_err(|_| NodeError::Ended("ros-spin"))?;
            answer.await.map_err(|_| NodeError::Ended("ros-spin"))
        }
    }
}

/// The running thread.
#[derive(Debug)]
pub struct Spinner {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Spinner {
    /// Spins until [`Self::stop`]. The receiver resolves when the thread ends, for whatever cause.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(mut works: Works) -> std::io::Result<(Self, Spin, oneshot::Receiver<()>)> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (alive, ended) = oneshot::channel();
        let (commands, waiting) = mpsc::channel::<Command>();
        let thread = thread::Builder::new().name("ros-spin".to_owned()).spawn(move || {
            // Dropped at the end, also by a panic: that is what resolves `ended`.
            let _alive: oneshot::Sender<()> = alive;
            let mut looked = None::<Instant>;
            while !stopped.load(Ordering::Relaxed) {
                waiting.try_iter().for_each(|command| command(&mut works));
                works.turn();
                if looked.is_none_or(|last| last.elapsed() >= LOOK) {
                    looked = Some(Instant::now());
                    works.look();
                }
            }
        })?;
        Ok((Self { stop, thread }, Spin { commands }, ended))
    }

    /// Ends the thread and destroys the node.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the ROS thread had ended by a panic");
        }
    }
}

/// For people. A publisher can be known a moment before its node is.
fn full_name(namespace: &str, name: &str) -> String {
    if name == UNKNOWN_NODE {
        return "(of a node not known yet)".to_owned();
    }
    format!("{}/{name}", namespace.trim_end_matches('/'))
}

fn publishers(node: &r2r::Node, topic: &str) -> Vec<PublisherFacts> {
    let found = node.get_publishers_info_by_topic(topic, false).unwrap_or_default();
    found
        .into_iter()
        .map(|publisher| PublisherFacts {
            node: full_name(&publisher.node_namespace, &publisher.node_name),
            message_type: publisher.topic_type,
            offered: qos::matching(&publisher.qos_profile),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_told_by_its_full_name_once_that_is_known() {
        assert_eq!(full_name("/", "camera"), "/camera");
        assert_eq!(full_name("/robot", "camera"), "/robot/camera");
        assert_eq!(full_name("_NODE_NAMESPACE_UNKNOWN_", UNKNOWN_NODE), "(of a node not known yet)");
    }
}
