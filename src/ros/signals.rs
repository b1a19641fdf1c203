//! SIGINT and SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::NodeError;

/// Both signals that end the node cleanly.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// From now on they no longer end the process by themselves.
    ///
    /// # Errors
    /// The system gives no signal handler.
    pub fn new() -> Result<Self, NodeError> {
        let handler = |kind| signal(kind).map_err(|source| NodeError::System { what: "a signal handler", source });
        Ok(Self { interrupt: handler(SignalKind::interrupt())?, terminate: handler(SignalKind::terminate())? })
    }

    /// Waits for one of them.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
