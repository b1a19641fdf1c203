//! The action vocabularies of the public datasets, in class-index order. Their only home.
//!
//! A trained model's own list lives in its [contract](crate::contract::ModelContract); these are where such lists come
//! from. Source: the published LOCATE and LoopTrans code (AGD20K) and WSMA's appendix (HICO-IIF).

/// AGD20K, "Seen" split: 36 actions.
pub const AGD20K_SEEN: [&str; 36] = [
    "beat",
    "boxing",
    "brush_with",
    "carry",
    "catch",
    "cut",
    "cut_with",
    "drag",
    "drink_with",
    "eat",
    "hit",
    "hold",
    "jump",
    "kick",
    "lie_on",
    "lift",
    "look_out",
    "open",
    "pack",
    "peel",
    "pick_up",
    "pour",
    "push",
    "ride",
    "sip",
    "sit_on",
    "stick",
    "stir",
    "swing",
    "take_photo",
    "talk_on",
    "text_on",
    "throw",
    "type_on",
    "wash",
    "write",
];

/// AGD20K, "Unseen" split: 25 actions.
pub const AGD20K_UNSEEN: [&str; 25] = [
    "carry",
    "catch",
    "cut",
    "cut_with",
    "drink_with",
    "eat",
    "hit",
    "hold",
    "jump",
    "kick",
    "lie_on",
    "open",
    "peel",
    "pick_up",
    "pour",
    "push",
    "ride",
    "sip",
    "sit_on",
    "stick",
    "swing",
    "take_photo",
    "throw",
    "type_on",
    "wash",
];

/// HICO-IIF: 10 actions.
pub const HICO_IIF: [&str; 10] =
    ["cut_with", "drink_with", "hold", "open", "pour", "sip", "stick", "stir", "swing", "type_on"];

/// The vocabularies by the name the command line uses.
pub const VOCABULARIES: [(&str, &[&str]); 3] =
    [("agd20k-seen", &AGD20K_SEEN), ("agd20k-unseen", &AGD20K_UNSEEN), ("hico-iif", &HICO_IIF)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unseen_actions_are_seen_actions() {
        for action in AGD20K_UNSEEN {
            assert!(AGD20K_SEEN.contains(&action), "{action}");
        }
    }

    #[test]
    fn every_list_is_sorted_and_unique() {
        for (name, actions) in VOCABULARIES {
            assert!(actions.windows(2).all(|pair| pair[0] < pair[1]), "{name}");
        }
    }
}
