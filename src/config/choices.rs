//! Parameters with a fixed set of values, as enums. Each name as parameters, messages and reports write it stands here
//! and nowhere else.

/// Defines an enum, the names of its values in order, and both directions between them.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub enum $name { $($(#[$value_doc])* $value),+ }

        impl $name {
            /// Every name, in the order of declaration.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The value of that name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$value),)+
                    _ => None,
                }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$value => $text),+ }
            }
        }
    };
}

choice! {
    /// Which hardware computes (`execution_provider`).
    ProviderChoice {
        /// The fastest that can be had: TensorRT, CUDA, OpenVINO, CPU, in this order.
        #[default]
        Auto = "auto",
        /// NVIDIA TensorRT.
        TensorRt = "tensorrt",
        /// NVIDIA CUDA.
        Cuda = "cuda",
        /// Intel OpenVINO.
        OpenVino = "openvino",
        /// ONNX Runtime's own CPU kernels.
        Cpu = "cpu",
    }
}

choice! {
    /// How CUDA chooses the algorithm of a convolution (`cuda_conv_search`).
    ConvSearch {
        /// Tries all of them in the first run.
        #[default]
        Exhaustive = "exhaustive",
        /// Asks cuDNN's heuristic.
        Heuristic = "heuristic",
        /// Always the same one, which needs little memory.
        Default = "default",
    }
}

choice! {
    /// What to do with a zero, negative or future stamp (`stamp_policy`).
    StampPolicy {
        /// Reject the frame.
        #[default]
        Reject = "reject",
        /// Process it and publish the stamp as it is.
        Accept = "accept",
        /// Process it and publish the time at which it was received instead.
        Restamp = "restamp",
    }
}

choice! {
    /// When frames are processed (`mode`).
    Mode {
        /// As they come.
        #[default]
        Continuous = "continuous",
        /// One for each request of `~/detect`.
        OnDemand = "on_demand",
    }
}

choice! {
    /// How images travel (`image_transport`).
    ImageTransport {
        /// sensor_msgs/Image on `image`.
        #[default]
        Raw = "raw",
        /// sensor_msgs/CompressedImage on `image/compressed`: JPEG or PNG.
        Compressed = "compressed",
    }
}

choice! {
    /// What the pictures are taken for where regions are measured with depth (`image_rectification`).
    ImageRectification {
        /// What the topic's name says.
        #[default]
        Auto = "auto",
        /// As the lens makes them: K and D of camera_info.
        Raw = "raw",
        /// Rectified: P of camera_info.
        Rectified = "rectified",
    }
}

choice! {
    /// ROS 2 reliability QoS (`input_reliability`, `output_reliability`).
    Reliability {
        /// Lost messages stay lost. As a request it matches every publisher.
        #[default]
        BestEffort = "best_effort",
        /// Lost messages are sent again. As a request it matches reliable publishers only.
        Reliable = "reliable",
    }
}

choice! {
    /// ROS 2 durability QoS.
    Durability {
        /// Who comes late gets what is sent from then on.
        #[default]
        Volatile = "volatile",
        /// Who comes late gets the last messages too.
        TransientLocal = "transient_local",
    }
}

choice! {
    /// ROS 2 history QoS.
    History {
        /// The newest messages, as many as the depth says.
        #[default]
        KeepLast = "keep_last",
        /// All of them, as far as the middleware's memory goes.
        KeepAll = "keep_all",
    }
}

choice! {
    /// ROS 2 liveliness QoS: what shows that a publisher is alive.
    Liveliness {
        /// Its process.
        #[default]
        Automatic = "automatic",
        /// Its messages.
        ManualByTopic = "manual_by_topic",
    }
}

choice! {
    /// The two ends of a topic, as `qos_overrides` name them.
    Endpoint {
        /// Who sends.
        #[default]
        Publisher = "publisher",
        /// Who receives.
        Subscription = "subscription",
    }
}

choice! {
    /// How heat is written (`heatmap_encoding`), by the image encoding's name.
    HeatmapEncoding {
        /// One byte a pixel: 255 = 1.0, rounded to nearest.
        #[default]
        Mono8 = "mono8",
        /// One little-endian f32 a pixel.
        Float32 = "32FC1",
    }
}

choice! {
    /// On which grid heat is given (`heatmap_size`).
    HeatmapSize {
        /// The source image's own pixels.
        #[default]
        Source = "source",
        /// The network's input pixels.
        Network = "network",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_inverse() {
        for name in ProviderChoice::NAMES {
            assert_eq!(ProviderChoice::from_name(name).map(ProviderChoice::name), Some(*name));
        }
        assert_eq!(ProviderChoice::from_name("CPU"), None, "names are exact");
        assert_eq!(HeatmapEncoding::from_name("32FC1"), Some(HeatmapEncoding::Float32));
    }
}
