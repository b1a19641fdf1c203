//! The actions that the drawn parts are for.

/// An action, bound to one part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Affordance {
    Carry,
    CutWith,
    DrinkWith,
    Hit,
    Hold,
    Open,
    Pour,
    Press,
    Push,
    SitOn,
    Stir,
    Swing,
}

impl Affordance {
    /// All of them, in class order.
    pub const ALL: [Self; 12] = [
        Self::Carry,
        Self::CutWith,
        Self::DrinkWith,
        Self::Hit,
        Self::Hold,
        Self::Open,
        Self::Pour,
        Self::Press,
        Self::Push,
        Self::SitOn,
        Self::Stir,
        Self::Swing,
    ];

    /// Its folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Carry => "carry",
            Self::CutWith => "cut_with",
            Self::DrinkWith => "drink_with",
            Self::Hit => "hit",
            Self::Hold => "hold",
            Self::Open => "open",
            Self::Pour => "pour",
            Self::Press => "press",
            Self::Push => "push",
            Self::SitOn => "sit_on",
            Self::Stir => "stir",
            Self::Swing => "swing",
        }
    }
}
