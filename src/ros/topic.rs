//! Names of a camera's topics, and the output topics themselves.

use std::sync::{Arc, Mutex, PoisonError};

use r2r::{Node, Publisher, PublisherUntyped, WrappedTypesupport};

use super::{
    publish::{self, refused},
    qos,
    spin::Works,
};
use crate::{config::Reliability, robot::PublishError};

/// What a camera's topics are called, before remapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraNames {
    /// Empty, or its name and a slash.
    prefix: String,
}

impl CameraNames {
    /// Of the camera of that name; empty = the only one, whose name is in no topic.
    pub fn new(camera: &str) -> Self {
        Self { prefix: if camera.is_empty() { String::new() } else { format!("{camera}/") } }
    }

    /// A topic that the camera sends, such as `image`: "image" or "left/image".
    pub fn input(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// A topic with the camera's results, such as `heatmap`: "~/heatmap" or "~/left/heatmap".
    pub fn output(&self, topic: &str) -> String {
        format!("~/{}{topic}", self.prefix)
    }
}

/// Creates a camera's output topics, and remembers how to destroy them.
pub struct Maker<'a> {
    works: &'a mut Works,
    names: &'a CameraNames,
    reliability: Reliability,
    made: Made,
}

/// Where serialised messages are made, one at a time. The cameras share one: they are served in turns, and a message may be
/// many pictures large.
#[derive(Debug, Clone, Default)]
pub struct MessageBuffer(Arc<Mutex<Vec<u8>>>);

/// Output topics that can be destroyed.
#[derive(Default)]
pub struct Made(Vec<Destroy>);

type Destroy = Box<dyn FnOnce(&mut Node) + Send>;

impl Made {
    /// Destroys them.
    pub fn destroy(self, node: &mut Node) {
        self.0.into_iter().for_each(|destroy| destroy(node));
    }
}

impl<'a> Maker<'a> {
    /// For one camera.
    pub fn new(works: &'a mut Works, names: &'a CameraNames, reliability: Reliability) -> Self {
        Self { works, names, reliability, made: Made::default() }
    }

    /// Makes all of a camera's topics, or none: on an error those made by then are destroyed.
    ///
    /// # Errors
    /// That of `make`.
    pub fn all<T>(
        mut self,
        make: impl FnOnce(&mut Self) -> Result<T, PublishError>,
    ) -> Result<(T, Made), PublishError> {
        match make(&mut self) {
            Ok(topics) => Ok((topics, self.made)),
            Err(error) => {
                self.made.destroy(&mut self.works.node);
                Err(error)
            }
        }
    }

    /// A topic of small messages.
    ///
    /// # Errors
    /// rcl refuses the name (a bad remap rule) or has no resources left.
    pub fn topic<T: WrappedTypesupport + 'static>(&mut self, topic: &str) -> Result<Topic<T>, PublishError> {
        let name = self.names.output(topic);
        let publisher = publish::create::<T>(self.works, &name, qos::output(self.reliability))?;
        let destroyed = publisher.clone();
        self.made.0.push(Box::new(move |node| node.destroy_publisher(destroyed)));
        Ok(Topic { name, publisher })
    }

    /// A topic whose messages we serialise ourselves.
    ///
    /// # Errors
    /// As [`Self::topic`].
    pub fn bulk(&mut self, topic: &str, message_type: &str) -> Result<Bulk, PublishError> {
        let name = self.names.output(topic);
        let qos = self.works.qos.publisher(&name, qos::output(self.reliability));
        let publisher = self
            .works
            .node
            .create_publisher_untyped(&name, message_type, qos)
            .map_err(|error| refused(&name, &error))?;
        let destroyed = publisher.clone();
        self.made.0.push(Box::new(move |node| node.destroy_publisher_untyped(destroyed)));
        Ok(Bulk { name, publisher, buffer: self.works.buffer.clone() })
    }
}

/// A topic of small messages.
#[derive(Debug)]
pub struct Topic<T: WrappedTypesupport> {
    /// Before remapping.
    pub name: String,
    publisher: Publisher<T>,
}

impl<T: WrappedTypesupport + 'static> Topic<T> {
    /// Whether somebody listens.
    pub fn is_heard(&self) -> bool {
        self.publisher.get_inter_process_subscription_count().is_ok_and(|count| count > 0)
    }

    /// Publishes a message whose strings hold no NUL.
    ///
    /// # Errors
    /// rcl has no resources left.
    pub fn publish(&self, message: &T) -> Result<(), PublishError> {
        publish::publish(&self.publisher, &self.name, message)
    }
}

/// A topic whose messages we serialise ourselves.
#[derive(Debug)]
pub struct Bulk {
    /// Before remapping.
    pub name: String,
    publisher: PublisherUntyped,
    buffer: MessageBuffer,
}

impl Bulk {
    /// Whether somebody listens.
    pub fn is_heard(&self) -> bool {
        self.publisher.get_inter_process_subscription_count().is_ok_and(|count| count > 0)
    }

    /// Publishes the message that `write` makes in a buffer, whose memory is reused.
    ///
    /// # Errors
    /// That of `write`, or rcl has no resources left.
    pub fn publish<E: ToString>(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<&[u8], E>,
    ) -> Result<(), PublishError> {
        // Each message overwrites what a panic may have left of another.
        let mut buffer = self.buffer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let message = write(&mut buffer).map_err(|error| refused(&self.name, &error))?;
        self.publisher.publish_raw(message).map_err(|error| refused(&self.name, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_s_name_is_the_first_part_of_its_topics_and_the_only_camera_has_none() {
        let (only, left) = (CameraNames::new(""), CameraNames::new("left"));
        assert_eq!((only.input("depth/image"), only.output("heatmap")), ("depth/image".into(), "~/heatmap".into()));
        assert_eq!(
            (left.input("image"), left.output("overlay/compressed")),
            ("left/image".into(), "~/left/overlay/compressed".into())
        );
    }
}
