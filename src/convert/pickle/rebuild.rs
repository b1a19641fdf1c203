//! What torch's own rebuild functions would make of their arguments, as descriptions.

use super::{
    Element, PickleError,
    globals::Global,
    machine::{Machine, Value, ValueId},
};

const MAX_DIMENSIONS: usize = 16;
/// torch's storage keys are a number or a pointer in digits.
const MAX_KEY_BYTES: usize = 64;

/// A block of numbers somewhere in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRef {
    /// Its name in the file.
    pub key: Box<str>,
    /// How its elements are stored.
    pub element: Element,
    /// How many there are.
    pub length: u64,
    /// First element of this view of it (the old format shares storages so).
    pub view_offset: u64,
}

/// A tensor: which elements of which storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRef {
    /// The storage, a [`Value::Storage`].
    pub storage: ValueId,
    /// First element.
    pub offset: u64,
    /// Sizes, outermost first.
    pub shape: Vec<u64>,
    /// Elements from one index to the next, per axis.
    pub strides: Vec<u64>,
}

impl<R: std::io::Read> Machine<'_, R> {
    /// REDUCE: `callable(*arguments)`, described.
    pub(super) fn reduce(&mut self, callable: ValueId, arguments: ValueId) -> Result<Value, PickleError> {
        let Value::Global(global) = *self.value(callable) else {
            return Ok(Value::Opaque);
        };
        let arguments = self.tuple(arguments, "a tuple of arguments")?.to_vec();
        match global {
            Global::Tensor => self.tensor(&arguments),
            Global::Parameter => self.parameter(&arguments),
            Global::FromType => self.rebuilt_from_type(&arguments),
            Global::Dict => self.dict(&arguments),
            Global::Size => match arguments[..] {
                [size] => Ok(Value::Tuple(self.sizes(size)?.to_vec())),
                _ => Err(self.malformed("torch.Size of one tuple")),
            },
            Global::Module => Ok(Value::Module(None)),
            Global::Storage(_) | Global::Opaque => Ok(Value::Opaque),
        }
    }

    /// BINPERSID: ('storage', class, key, location, length[, view]).
    pub(super) fn storage(&self, id: ValueId) -> Result<Value, PickleError> {
        const EXPECTED: &str = "a persistent id ('storage', class, key, location, length)";
        let parts = self.tuple(id, EXPECTED)?;
        let [kind, class, key, _location, length, view @ ..] = parts else {
            return Err(self.malformed(EXPECTED));
        };
        let (Value::Text(kind), Value::Global(Global::Storage(element)), Value::Text(key)) =
            (self.value(*kind), self.value(*class), self.value(*key))
        else {
            return Err(self.malformed(EXPECTED));
        };
        if &**kind != "storage" || key.len() > MAX_KEY_BYTES {
            return Err(self.malformed(EXPECTED));
        }
        let view_offset = match view {
            [view] if !matches!(self.value(*view), Value::None) => {
                // (view key, first element, length)
                let view = self.tuple(*view, "a view (key, offset, length) or None")?;
                self.count(*view.get(1).ok_or_else(|| self.malformed("a view (key, offset, length)"))?)?
            }
            _ => 0,
        };
        let length = self.count(*length)?;
        Ok(Value::Storage(StorageRef { key: key.clone(), element: *element, length, view_offset }))
    }

    fn tensor(&self, arguments: &[ValueId]) -> Result<Value, PickleError> {
        let [storage, offset, shape, strides, ..] = *arguments else {
            return Err(self.malformed("a tensor of (storage, offset, size, stride)"));
        };
        if !matches!(self.value(storage), Value::Storage(_)) {
            return Err(self.malformed("a tensor's storage"));
        }
        let shape = self.counts(shape)?;
        let strides = self.counts(strides)?;
        if shape.len() != strides.len() {
            return Err(self.malformed("a tensor with as many strides as sizes"));
        }
        Ok(Value::Tensor(TensorRef { storage, offset: self.count(offset)?, shape, strides }))
    }

    fn parameter(&self, arguments: &[ValueId]) -> Result<Value, PickleError> {
        match arguments.first().map(|id| self.value(*id)) {
            Some(Value::Tensor(tensor)) => Ok(Value::Tensor(tensor.clone())),
            _ => Err(self.malformed("a parameter's tensor")),
        }
    }

    fn rebuilt_from_type(&self, arguments: &[ValueId]) -> Result<Value, PickleError> {
        const EXPECTED: &str = "a tensor of (function, type, arguments, state)";
        let [function, _type, inner, ..] = *arguments else {
            return Err(self.malformed(EXPECTED));
        };
        // Only the tensor function: anything else here would need another round, without end.
        match self.value(function) {
            Value::Global(Global::Tensor) => self.tensor(self.tuple(inner, EXPECTED)?),
            _ => Err(self.malformed(EXPECTED)),
        }
    }

    /// An empty dictionary, or one from a list of pairs (Python 2). Counter and defaultdict hold nothing we read.
    ///
    /// The list is emptied: a file that makes a thousand dictionaries of one list gets its memory once.
    fn dict(&mut self, arguments: &[ValueId]) -> Result<Value, PickleError> {
        let pairs = match arguments.first() {
            Some(id) => self.take_list(*id),
            None => Vec::new(),
        };
        let pair = |id: &ValueId| match self.value(*id) {
            Value::Tuple(items) | Value::List(items) if items.len() == 2 => Ok((items[0], items[1])),
            _ => Err(self.malformed("a dictionary's list of pairs")),
        };
        Ok(Value::Dict(pairs.iter().map(pair).collect::<Result<_, _>>()?))
    }

    fn tuple(&self, id: ValueId, expected: &'static str) -> Result<&[ValueId], PickleError> {
        match self.value(id) {
            Value::Tuple(items) => Ok(items),
            _ => Err(self.malformed(expected)),
        }
    }

    fn counts(&self, id: ValueId) -> Result<Vec<u64>, PickleError> {
        self.sizes(id)?.iter().map(|id| self.count(*id)).collect()
    }

    /// Bounded, since a file may refer to one tuple as often as it likes and each time a copy is made.
    fn sizes(&self, id: ValueId) -> Result<&[ValueId], PickleError> {
        const EXPECTED: &str = "a tuple of at most 16 sizes";
        let sizes = self.tuple(id, EXPECTED)?;
        if sizes.len() > MAX_DIMENSIONS { Err(self.malformed(EXPECTED)) } else { Ok(sizes) }
    }

    fn count(&self, id: ValueId) -> Result<u64, PickleError> {
        match self.value(id) {
            Value::Int(n) => u64::try_from(*n).map_err(|_| self.malformed("a size of 0 or more")),
            _ => Err(self.malformed("a size")),
        }
    }
}
