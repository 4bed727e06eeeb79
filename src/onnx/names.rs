//! Names as numbers. A file says each name many times; told apart once, names are compared and
//! looked up as numbers, and tables of them lie in memory in the order of the file.

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::ops::Deref;
use std::rc::Rc;

/// A name among [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(u32);

impl Name {
    /// The empty name: of what is left out.
    pub const EMPTY: Self = Self(0);
    /// One that is not known.
    const UNKNOWN: Self = Self(u32::MAX);

    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// All names, whose texts are kept as `T`.
pub(super) struct Names<T> {
    texts: Vec<T>,
    /// With half of their hash, so that the texts need not be at hand for the table to grow.
    known: HashTable<(u32, Name)>,
    hasher: DefaultHashBuilder,
}

impl<T: Deref<Target = str>> Names<T> {
    /// The empty name alone.
    pub fn new(empty: T) -> Self {
        let known = HashTable::new();
        let mut names = Self { texts: Vec::new(), known, hasher: <_>::default() };
        names.intern(empty);
        names
    }

    /// Exporters count names: those that differ in the last digit lie beside one another, where
    /// each by itself would be out of the cache. No more than a few can have one place.
    fn hash(&self, text: &str) -> u32 {
        let (last, stem) = text.as_bytes().split_last().unwrap_or((&0, &[]));
        let stem = (self.hasher.hash_one(stem) >> 32) as u32;
        stem & !15 | u32::from(last & 15)
    }

    /// The name of this text.
    pub fn intern(&mut self, text: impl Deref<Target = str> + Into<T>) -> Name {
        let half = self.hash(&text);
        let Self { texts, known, .. } = self;
        let same = |(other, name): &(u32, Name)| {
            *other == half && texts.get(name.index()).is_some_and(|t| **t == *text)
        };
        match known.entry(whole(half), same, |(half, _)| whole(*half)) {
            Entry::Occupied(known) => known.get().1,
            Entry::Vacant(place) => {
                // Fewer than there are bytes in a file, of which there are fewer than 2^32.
                let name = Name(texts.len() as u32);
                place.insert((half, name));
                texts.push(text.into());
                name
            }
        }
    }

    /// The name of this text, if it is one of them; else one that is in no table.
    pub fn find(&self, text: &str) -> Name {
        let half = self.hash(text);
        let same = |(other, name): &(u32, Name)| *other == half && self.text(*name) == text;
        self.known.find(whole(half), same).map_or(Name::UNKNOWN, |(_, name)| *name)
    }

    pub fn text(&self, name: Name) -> &str {
        self.texts.get(name.index()).map_or("", |text| text)
    }
}

/// A hash for a table, which looks at the highest and at the lowest bits.
fn whole(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

impl Names<Rc<str>> {
    /// The name of this text, and the text.
    pub fn word(&mut self, text: String) -> Word {
        let name = self.intern(text);
        let text = self.texts.get(name.index()).cloned().unwrap_or_default();
        Word { name, text }
    }
}

/// A name and its text.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub name: Name,
    text: Rc<str>,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// What some of many names stand for. Those that follow one another in the file lie beside one
/// another.
pub(super) type NameMap<T> = HashMap<Name, T, BuildHasherDefault<InOrder>>;

/// Some of many names.
pub(super) type NameSet = HashSet<Name, BuildHasherDefault<InOrder>>;

/// Hashes a number to a place of its own among those of its neighbours, where no table of random
/// places would be in the cache; the highest bits, which a table tells entries of one place apart
/// by, are those of a product.
#[derive(Default)]
pub(super) struct InOrder(u64);

impl Hasher for InOrder {
    fn write_u32(&mut self, number: u32) {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let number = u64::from(number);
        self.0 = number | (number.wrapping_mul(GOLDEN) & 0x7f << 57);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(self.0 as u32 ^ u32::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What names stand for, most of them.
#[derive(Debug, Clone)]
pub(super) struct Table<T>(Vec<Option<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Table<T> {
    pub fn get(&self, name: Name) -> Option<&T> {
        self.0.get(name.index())?.as_ref()
    }

    pub fn contains(&self, name: Name) -> bool {
        self.get(name).is_some()
    }

    /// What the name stood for before.
    pub fn insert(&mut self, name: Name, value: T) -> Option<T> {
        self.place(name).replace(value)
    }

    /// Unless the name stands for something already.
    pub fn insert_first(&mut self, name: Name, value: T) {
        self.place(name).get_or_insert(value);
    }

    fn place(&mut self, name: Name) -> &mut Option<T> {
        if name.index() >= self.0.len() {
            self.0.resize_with(name.index() + 1, || None);
        }
        &mut self.0[name.index()]
    }
}

/// A set of names.
pub(super) type Set = Table<()>;

impl Extend<Name> for Set {
    fn extend<I: IntoIterator<Item = Name>>(&mut self, names: I) {
        names.into_iter().for_each(|name| _ = self.insert(name, ()));
    }
}

impl FromIterator<Name> for Set {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Self {
        let mut set = Self::default();
        set.extend(names);
        set
    }
}
