//! Names as numbers. A file says each name many times; told apart once, names are compared and
//! looked up as numbers, and tables of them lie in memory in the order of the file.

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::borrow::Cow;
use std::hash::BuildHasher;

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

/// All names.
pub(super) struct Names<'a> {
    texts: Vec<Cow<'a, str>>,
    known: HashTable<Name>,
    hasher: DefaultHashBuilder,
}

impl<'a> Names<'a> {
    /// The empty name alone, and room for `count` others.
    pub fn with_capacity(count: usize) -> Self {
        let known = HashTable::with_capacity(count.saturating_add(1));
        let mut names = Self { texts: Vec::new(), known, hasher: <_>::default() };
        names.of("".into());
        names
    }

    /// The name of this text.
    pub fn of(&mut self, text: Cow<'a, str>) -> Name {
        let Self { texts, known, hasher } = self;
        let same = |name: &Name| texts.get(name.index()).is_some_and(|t| *t == text);
        let hash = |name: &Name| hasher.hash_one(texts.get(name.index()).map(|t| &**t));
        match known.entry(hasher.hash_one(Some(&*text)), same, hash) {
            Entry::Occupied(name) => *name.get(),
            Entry::Vacant(place) => {
                // Fewer than there are bytes in a file, of which there are fewer than 2^32.
                let name = Name(texts.len() as u32);
                place.insert(name);
                texts.push(text);
                name
            }
        }
    }

    /// The name of this text, if it is one of them; else one that is in no table.
    pub fn find(&self, text: &str) -> Name {
        let same = |name: &&Name| self.text(**name) == text;
        let hash = self.hasher.hash_one(Some(text));
        self.known.find(hash, |name| same(&name)).copied().unwrap_or(Name::UNKNOWN)
    }

    pub fn text(&self, name: Name) -> &str {
        self.texts.get(name.index()).map_or("", |text| text)
    }
}

/// What some names stand for.
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
