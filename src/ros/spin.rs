//! The thread that owns the r2r node: it receives messages and watches the graph.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::qos;
use crate::robot::PublisherFacts;

/// Longest wait for a message; `spin_once` cannot be woken, so this bounds how long a stop takes.
const WAIT: Duration = Duration::from_millis(20);
/// How often the input topic's publishers are looked up.
const LOOK: Duration = Duration::from_millis(500);

/// The publishers on the input topic, as last looked up.
pub type Graph = Arc<Mutex<Vec<PublisherFacts>>>;

/// The running thread.
#[derive(Debug)]
pub struct Spinner {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Spinner {
    /// Spins `node` until [`Self::stop`] and keeps `graph` filled with who publishes on `topic`. The receiver resolves
    /// when the thread ends, for whatever cause.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(mut node: r2r::Node, topic: String, graph: Graph) -> std::io::Result<(Self, oneshot::Receiver<()>)> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (alive, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("ros-spin".to_owned()).spawn(move || {
            // Dropped at the end, also by a panic: that is what resolves `ended`.
            let _alive: oneshot::Sender<()> = alive;
            let mut looked = None::<Instant>;
            while !stopped.load(Ordering::Relaxed) {
                node.spin_once(WAIT);
                if looked.is_none_or(|last| last.elapsed() >= LOOK) {
                    looked = Some(Instant::now());
                    let found = publishers(&node, &topic);
                    *graph.lock().unwrap_or_else(PoisonError::into_inner) = found;
                }
            }
        })?;
        Ok((Self { stop, thread }, ended))
    }

    /// Ends the thread and destroys the node.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the ROS thread had ended by a panic");
        }
    }
}

fn publishers(node: &r2r::Node, topic: &str) -> Vec<PublisherFacts> {
    let found = node.get_publishers_info_by_topic(topic, false).unwrap_or_default();
    found
        .into_iter()
        .map(|publisher| PublisherFacts {
            node: format!("{}/{}", publisher.node_namespace.trim_end_matches('/'), publisher.node_name),
            message_type: publisher.topic_type,
            offered: qos::offered(publisher.qos_profile.reliability),
        })
        .collect()
}
