//! Checkpoints as torch.save writes them become weights files; damaged, hostile and foreign ones become one error.
//!
//! Needs tests/fixtures/checkpoints, made by scripts/fixtures/make_checkpoints.py with torch (no torch here). Hostile
//! files are made here, byte by byte. Covers reading, recognition, refusal and what is left behind; not the values of
//! real published checkpoints, which cannot be had offline.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod crafted;
mod hostile;
mod published;
mod refused;
mod support;
