//! The stack machine.

use std::{collections::HashMap, io::Read};

use super::{CountingReader, MAX_VALUES, PickleError, StorageRef, TensorRef, globals::Global};

/// A value's place in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueId(u32);

/// What an opcode left.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// None.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of at most 16 bytes.
    Int(i128),
    /// A string (of Python 2 as well).
    Text(Box<str>),
    /// A tuple.
    Tuple(Vec<ValueId>),
    /// A list.
    List(Vec<ValueId>),
    /// A dictionary, in the order of the file.
    Dict(Vec<(ValueId, ValueId)>),
    /// The name of a class or function.
    #[allow(private_interfaces, reason = "only the machine looks inside")]
    Global(Global),
    /// A storage.
    Storage(StorageRef),
    /// A tensor.
    Tensor(TensorRef),
    /// An object of a TorchScript class: the dictionary of its attributes, once it has them.
    Module(Option<ValueId>),
    /// Something that holds no tensor of a state dict.
    Opaque,
}

/// A pickle, read.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: ValueId,
}

impl Pickle {
    /// What the pickle holds.
    pub fn root(&self) -> &Value {
        self.value(self.root)
    }

    /// All its parts, those thrown away as well.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }

    /// A part of it.
    pub fn value(&self, id: ValueId) -> &Value {
        // An id is only made for a value that was pushed, and values are never removed.
        &self.values[id.0 as usize]
    }
}

/// Reads one pickle, up to and with its STOP.
///
/// # Errors
/// See [`PickleError`]. Memory stays bounded whatever the bytes say.
pub fn load<R: Read>(reader: &mut CountingReader<R>) -> Result<Pickle, PickleError> {
    reader.start_pickle();
    let mut machine =
        Machine { reader, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        let opcode = machine.reader.u8()?;
        if opcode == op::STOP {
            let root = machine.pop()?;
            return Ok(Pickle { values: machine.values, root });
        }
        machine.step(opcode)?;
    }
}

/// Python's pickletools.py names and explains them.
mod op {
    pub const STOP: u8 = b'.';
    pub const PROTO: u8 = 0x80;
    pub const FRAME: u8 = 0x95;
    pub const MARK: u8 = b'(';
    pub const POP: u8 = b'0';
    pub const POP_MARK: u8 = b'1';
    pub const DUP: u8 = b'2';
    pub const NONE: u8 = b'N';
    pub const NEWTRUE: u8 = 0x88;
    pub const NEWFALSE: u8 = 0x89;
    pub const BININT: u8 = b'J';
    pub const BININT1: u8 = b'K';
    pub const BININT2: u8 = b'M';
    pub const LONG1: u8 = 0x8a;
    pub const BINFLOAT: u8 = b'G';
    pub const BINSTRING: u8 = b'T';
    pub const SHORT_BINSTRING: u8 = b'U';
    pub const BINUNICODE: u8 = b'X';
    pub const SHORT_BINUNICODE: u8 = 0x8c;
    pub const BINUNICODE8: u8 = 0x8d;
    pub const BINBYTES: u8 = b'B';
    pub const SHORT_BINBYTES: u8 = b'C';
    pub const BINBYTES8: u8 = 0x8e;
    pub const EMPTY_TUPLE: u8 = b')';
    pub const TUPLE: u8 = b't';
    pub const TUPLE1: u8 = 0x85;
    pub const TUPLE2: u8 = 0x86;
    pub const TUPLE3: u8 = 0x87;
    pub const EMPTY_LIST: u8 = b']';
    pub const LIST: u8 = b'l';
    pub const APPEND: u8 = b'a';
    pub const APPENDS: u8 = b'e';
    pub const EMPTY_DICT: u8 = b'}';
    pub const DICT: u8 = b'd';
    pub const SETITEM: u8 = b's';
    pub const SETITEMS: u8 = b'u';
    pub const EMPTY_SET: u8 = 0x8f;
    pub const ADDITEMS: u8 = 0x90;
    pub const GLOBAL: u8 = b'c';
    pub const STACK_GLOBAL: u8 = 0x93;
    pub const REDUCE: u8 = b'R';
    pub const NEWOBJ: u8 = 0x81;
    pub const BUILD: u8 = b'b';
    pub const BINPERSID: u8 = b'Q';
    pub const BINGET: u8 = b'h';
    pub const LONG_BINGET: u8 = b'j';
    pub const BINPUT: u8 = b'q';
    pub const LONG_BINPUT: u8 = b'r';
    pub const MEMOIZE: u8 = 0x94;
}

pub(super) struct Machine<'a, R> {
    reader: &'a mut CountingReader<R>,
    values: Vec<Value>,
    stack: Vec<ValueId>,
    /// Stack heights at which a MARK stands.
    marks: Vec<usize>,
    memo: HashMap<u32, ValueId>,
}

impl<R: Read> Machine<'_, R> {
    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            op::PROTO => drop(self.reader.u8()?),
            op::FRAME => drop(self.reader.u64()?),
            op::MARK => {
                self.check_room(self.marks.len())?;
                self.marks.push(self.stack.len());
            }
            op::POP => drop(self.pop()?),
            op::POP_MARK => drop(self.pop_mark()?),
            op::DUP => self.push_id(self.top()?)?,
            op::BINGET | op::LONG_BINGET | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.memo_step(opcode)?,
            op::GLOBAL | op::STACK_GLOBAL | op::REDUCE | op::NEWOBJ | op::BUILD | op::BINPERSID => {
                self.object_step(opcode)?;
            }
            op::APPEND | op::APPENDS | op::SETITEM | op::SETITEMS | op::ADDITEMS => self.fill_step(opcode)?,
            op::EMPTY_TUPLE
            | op::TUPLE
            | op::TUPLE1
            | op::TUPLE2
            | op::TUPLE3
            | op::EMPTY_LIST
            | op::LIST
            | op::EMPTY_DICT
            | op::DICT
            | op::EMPTY_SET => {
                let container = self.container(opcode)?;
                self.push(container)?;
            }
            _ => {
                let scalar = self.scalar(opcode)?;
                self.push(scalar)?;
            }
        }
        Ok(())
    }

    fn scalar(&mut self, opcode: u8) -> Result<Value, PickleError> {
        Ok(match opcode {
            op::NONE => Value::None,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::BININT => Value::Int(i32::from_le_bytes(self.reader.array()?).into()),
            op::BININT1 => Value::Int(self.reader.u8()?.into()),
            op::BININT2 => Value::Int(self.reader.u16()?.into()),
            op::LONG1 => self.long()?,
            op::BINFLOAT => {
                self.reader.array::<8>()?;
                Value::Opaque
            }
            op::BINSTRING | op::BINUNICODE | op::SHORT_BINSTRING | op::SHORT_BINUNICODE | op::BINUNICODE8 => {
                let bytes = self.counted_bytes(opcode)?;
                Value::Text(String::from_utf8_lossy(&bytes).into())
            }
            op::BINBYTES | op::SHORT_BINBYTES | op::BINBYTES8 => {
                self.counted_bytes(opcode)?;
                Value::Opaque
            }
            _ => return Err(PickleError::Opcode { opcode, offset: self.reader.offset().saturating_sub(1) }),
        })
    }

    fn counted_bytes(&mut self, opcode: u8) -> Result<Vec<u8>, PickleError> {
        let length = match opcode {
            op::SHORT_BINSTRING | op::SHORT_BINUNICODE | op::SHORT_BINBYTES => self.reader.u8()?.into(),
            op::BINUNICODE8 | op::BINBYTES8 => self.reader.u64()?,
            _ => self.reader.u32()?.into(),
        };
        self.reader.bytes(length)
    }

    /// Little-endian two's complement of 0 to 16 bytes; the old format's magic number has 10.
    fn long(&mut self) -> Result<Value, PickleError> {
        let length = self.reader.u8()?;
        let bytes = self.reader.bytes(length.into())?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        match wide.get_mut(..bytes.len()) {
            Some(low) => low.copy_from_slice(&bytes),
            // A random generator's state may be longer. It is no size of anything.
            None => return Ok(Value::Opaque),
        }
        Ok(Value::Int(i128::from_le_bytes(wide)))
    }

    fn container(&mut self, opcode: u8) -> Result<Value, PickleError> {
        Ok(match opcode {
            op::EMPTY_TUPLE => Value::Tuple(Vec::new()),
            op::TUPLE => Value::Tuple(self.pop_mark()?),
            op::TUPLE1 => Value::Tuple(self.pop_last(1)?),
            op::TUPLE2 => Value::Tuple(self.pop_last(2)?),
            op::TUPLE3 => Value::Tuple(self.pop_last(3)?),
            op::EMPTY_LIST => Value::List(Vec::new()),
            op::LIST => Value::List(self.pop_mark()?),
            op::EMPTY_DICT => Value::Dict(Vec::new()),
            op::DICT => {
                let items = self.pop_mark()?;
                Value::Dict(self.pairs(&items)?)
            }
            _ => Value::Opaque,
        })
    }

    /// Adds to the container below.
    fn fill_step(&mut self, opcode: u8) -> Result<(), PickleError> {
        let items = match opcode {
            op::APPEND => self.pop_last(1)?,
            op::SETITEM => self.pop_last(2)?,
            _ => self.pop_mark()?,
        };
        let pairs = if matches!(opcode, op::SETITEM | op::SETITEMS) { self.pairs(&items)? } else { Vec::new() };
        let container = self.top()?;
        match &mut self.values[container.0 as usize] {
            Value::List(list) if matches!(opcode, op::APPEND | op::APPENDS) => list.extend(items),
            Value::Dict(dict) if matches!(opcode, op::SETITEM | op::SETITEMS) => dict.extend(pairs),
            Value::Opaque => {}
            _ => return Err(self.malformed("a container to fill")),
        }
        Ok(())
    }

    fn memo_step(&mut self, opcode: u8) -> Result<(), PickleError> {
        let index = match opcode {
            op::BINGET | op::BINPUT => self.reader.u8()?.into(),
            op::LONG_BINGET | op::LONG_BINPUT => self.reader.u32()?,
            // MEMOIZE: the next free one.
            _ => u32::try_from(self.memo.len()).unwrap_or(u32::MAX),
        };
        if matches!(opcode, op::BINGET | op::LONG_BINGET) {
            let id = self.memo.get(&index).copied().ok_or_else(|| self.malformed("a remembered value"))?;
            return self.push_id(id);
        }
        self.check_room(self.memo.len())?;
        self.memo.insert(index, self.top()?);
        Ok(())
    }

    fn object_step(&mut self, opcode: u8) -> Result<(), PickleError> {
        let value = match opcode {
            op::GLOBAL => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                global(&module, &name)?
            }
            op::STACK_GLOBAL => {
                let [module, name] = self.pop_array()?;
                match (self.value(module), self.value(name)) {
                    (Value::Text(module), Value::Text(name)) => global(module, name)?,
                    _ => return Err(self.malformed("a module and a name")),
                }
            }
            op::BINPERSID => {
                let id = self.pop()?;
                self.storage(id)?
            }
            op::REDUCE | op::NEWOBJ => {
                let [callable, arguments] = self.pop_array()?;
                self.reduce(callable, arguments)?
            }
            // BUILD sets attributes: of a TorchScript object, all that it has; of any other one (a state dict's `_metadata`)
            // nothing that is needed.
            _ => {
                let state = self.pop()?;
                let object = self.top()?;
                if let Value::Module(attributes @ None) = &mut self.values[object.0 as usize] {
                    *attributes = Some(state);
                }
                return Ok(());
            }
        };
        self.push(value)
    }

    fn pairs(&self, items: &[ValueId]) -> Result<Vec<(ValueId, ValueId)>, PickleError> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.malformed("a value for each key"));
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        self.check_room(self.values.len())?;
        let id = ValueId(self.values.len() as u32);
        self.values.push(value);
        self.push_id(id)
    }

    fn push_id(&mut self, id: ValueId) -> Result<(), PickleError> {
        self.check_room(self.stack.len())?;
        self.stack.push(id);
        Ok(())
    }

    fn check_room(&self, length: usize) -> Result<(), PickleError> {
        if length >= MAX_VALUES {
            return Err(PickleError::TooLarge { what: "values", max: MAX_VALUES as u64 });
        }
        Ok(())
    }

    /// Lowest stack height that may be popped to: a MARK protects what lies below it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<ValueId, PickleError> {
        if self.stack.len() <= self.floor() {
            return Err(self.malformed("a value on the stack"));
        }
        self.stack.last().copied().ok_or_else(|| self.malformed("a value on the stack"))
    }

    fn pop(&mut self) -> Result<ValueId, PickleError> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[ValueId; N], PickleError> {
        let items = self.pop_last(N)?;
        <[ValueId; N]>::try_from(items).map_err(|_| self.malformed("values on the stack"))
    }

    fn pop_last(&mut self, count: usize) -> Result<Vec<ValueId>, PickleError> {
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= self.floor() => Ok(self.stack.split_off(start)),
            _ => Err(self.malformed("more values on the stack")),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<ValueId>, PickleError> {
        let start = self.marks.pop().ok_or_else(|| self.malformed("a mark on the stack"))?;
        Ok(self.stack.split_off(start))
    }

    pub(super) fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// What a list holds; it is empty from then on. Nothing, for any other value.
    pub(super) fn take_list(&mut self, id: ValueId) -> Vec<ValueId> {
        match &mut self.values[id.0 as usize] {
            Value::List(items) => std::mem::take(items),
            _ => Vec::new(),
        }
    }

    pub(super) fn malformed(&self, expected: &'static str) -> PickleError {
        PickleError::Malformed { offset: self.reader.offset(), expected }
    }
}

fn global(module: &str, name: &str) -> Result<Value, PickleError> {
    Global::named(module, name).map(Value::Global).ok_or_else(|| PickleError::Code {
        global: format!("{module}.{name}").chars().filter(|c| !c.is_control()).take(120).collect(),
    })
}
