//! What a camera may be called (`cameras`): its name becomes a part of topic names.

use super::{kind::Misfit, remap::is_token};

/// The most cameras of one node.
const MOST: usize = 16;
/// Topic names have at most 255 bytes; so much of them is a camera's.
const MAX_BYTES: usize = 64;
/// The first parts of the names that the node, or its only camera, uses itself: with a camera of such a name nobody could
/// tell whose topic it is.
const RESERVED: &[&str] = &[
    "image",
    "camera_info",
    "depth",
    "heatmap",
    "heatmaps",
    "grasp_regions",
    "grasp_poses",
    "markers",
    "overlay",
    "label_info",
    "status",
    "detect",
    "set_model",
    "enable",
    "reset",
    "transition_event",
    "change_state",
    "get_state",
    "get_available_states",
    "get_available_transitions",
    "get_transition_graph",
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
];

/// Checks the names of cameras, which are different ones.
pub(super) fn check(names: &[String]) -> Result<(), Misfit> {
    if names.len() > MOST {
        return Err(Misfit { found: format!("{} names", names.len()), hint: format!("the most are {MOST}") });
    }
    for name in names {
        let hint = if RESERVED.contains(&name.as_str()) {
            format!("the node has topics or services of that name itself; call it camera_{name}")
        } else if name.len() > MAX_BYTES {
            format!("the most are {MAX_BYTES} bytes")
        } else if !is_token(name) || name.starts_with('_') {
            "it becomes a part of topic names: letters, digits and single underscores, a letter first".to_owned()
        } else {
            continue;
        };
        return Err(Misfit { found: format!("{:?}", super::value::shorten(name)), hint });
    }
    Ok(())
}
