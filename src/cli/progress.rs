//! The bars of long work: on stderr, hidden where that is no terminal.

#[cfg(feature = "train")]
use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// So many of so many.
pub(super) const COUNT: &str = "{pos}/{len}";
/// So many per cent: for work whose unit says nothing.
#[cfg(feature = "train")]
pub(super) const SHARE: &str = "{percent} %";

/// For `of` things that are done from the first to the last.
pub(super) fn counting(what: &str, of: usize) -> anyhow::Result<ProgressBar> {
    Ok(ProgressBar::new(of as u64).with_style(style(COUNT)?).with_prefix(what.to_owned()))
}

/// For work that goes through stages, or goes on where it was interrupted: see [`at`]. `figures`: [`COUNT`] or [`SHARE`].
#[cfg(feature = "train")]
pub(super) fn staged(figures: &str) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(0).with_style(style(figures)?);
    bar.enable_steady_tick(Duration::from_secs(1));
    Ok(bar)
}

/// Shows how far a stage is.
#[cfg(feature = "train")]
pub(super) fn at(bar: &ProgressBar, stage: impl Into<Cow<'static, str>>, done: u64, of: u64) {
    bar.set_prefix(stage);
    let another = bar.length() != Some(of) || done < bar.position();
    bar.set_length(of);
    bar.set_position(done);
    if another {
        // What was done before does not count for the time left.
        bar.reset_eta();
    }
}

fn style(figures: &str) -> anyhow::Result<ProgressStyle> {
    Ok(ProgressStyle::with_template(&format!("{{prefix}} {{bar:30}} {figures} ({{eta}} left) {{msg}}"))?)
}
