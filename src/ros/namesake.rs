//! Other nodes of this node's own name: their topics, services and parameters cannot be told from its own.

use super::spin::{Graph, Works};
use crate::config::RosArgs;

/// Where every node says what it logs; this one does in any case.
const EVERY_NODE_PUBLISHES: &str = "/rosout";

/// Looks for them.
#[derive(Debug)]
pub struct Namesakes {
    graph: Graph,
    /// This node's fully qualified name.
    name: String,
    /// How many there were at the last look.
    known: usize,
}

impl Namesakes {
    /// Begins to look.
    pub fn watch(works: &mut Works, args: &RosArgs) -> Self {
        let graph = works.watch(args.resolve_topic(EVERY_NODE_PUBLISHES));
        Self { graph, name: args.fully_qualified_name(), known: 0 }
    }

    /// Logs when their number changes. Returns what is wrong while there are any.
    pub fn look(&mut self) -> Option<String> {
        let found = self.graph.publishers().iter().filter(|publisher| publisher.node == self.name).count();
        let others = found.saturating_sub(1);
        let before = std::mem::replace(&mut self.known, others);
        if others == 0 {
            if before > 0 {
                tracing::info!("no other node is called {} any more", self.name);
            }
            return None;
        }
        let (nodes, name) = (if others == 1 { "node is" } else { "nodes are" }, &self.name);
        let trouble = format!(
            "{others} other {nodes} called {name} (or was, and has been killed just now): give each a name of its own \
             (-r __node:=NAME)"
        );
        if others > before {
            tracing::warn!("{trouble}");
        }
        Some(trouble)
    }
}
