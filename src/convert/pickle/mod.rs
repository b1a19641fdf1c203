//! Reads the pickles of PyTorch checkpoints without executing anything.
//!
//! A pickle is a program that may call any Python function. This machine knows the data opcodes only; a *global* (the
//! name of a class or function) must be one of [`globals::Global`]'s list and is never called: tensors become
//! [`TensorRef`]s, containers become containers, objects of a TorchScript archive the attributes they have, everything else
//! becomes [`Value::Opaque`].
//!
//! Values lie in one arena and refer to each other by index. So a memo entry costs four bytes however large the value,
//! deep nesting cannot overflow the stack, and cycles are harmless.
//!
//! Why not a library: of the two at hand, candle-core's reader panics on short argument tuples, copies values on each
//! memo access (exponential on a hostile file), allocates what a length field claims, and reads neither strided tensors
//! nor the old format; serde-pickle has no persistent ids, by which every tensor refers to its storage.

mod globals;
mod machine;
mod reader;
mod rebuild;

pub use globals::Element;
pub use machine::{Pickle, Value, ValueId, load};
pub use reader::CountingReader;
pub use rebuild::{StorageRef, TensorRef};

/// More than any checkpoint's structure needs: DINO's full file, with two networks and an optimizer, has 40,000.
const MAX_VALUES: usize = 1 << 20;
/// Bytes of one pickle, likewise (DINO's full file: 0.1 MB). Tensor data lies outside.
const MAX_PICKLE_BYTES: u64 = 32 << 20;

/// Why a pickle is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// It ends before its STOP.
    #[error("the pickle ends early, after {offset} bytes: the file is truncated")]
    Truncated {
        /// Bytes read.
        offset: u64,
    },
    /// The file could not be read.
    #[error("cannot read the pickle: {0}")]
    Io(std::io::Error),
    /// It names a class or function that is neither a tensor nor a plain container.
    #[error(
        "the pickle names `{global}`, which is code; nothing was executed. Only tensors and plain containers are read: \
         if you trust the file, save its state dict alone with torch.save(model.state_dict(), ...)"
    )]
    Code {
        /// module.name, shortened.
        global: String,
    },
    /// An opcode that state dicts have no use for.
    #[error("the pickle has opcode 0x{opcode:02x} at byte {offset}, which no state dict needs")]
    Opcode {
        /// The opcode.
        opcode: u8,
        /// Where.
        offset: u64,
    },
    /// Too large for a description of tensors.
    #[error("the pickle has more than {max} {what}: not a state dict")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// Its opcodes do not fit together.
    #[error("the pickle is damaged at byte {offset}: expected {expected}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What would have been right.
        expected: &'static str,
    },
}
