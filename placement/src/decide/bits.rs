//! Bits: a set of clusters by their numbers, as words.
//!
//! In: numbers from 0. Out: the same, sixty-four at a time. Never: more than one word for 64 clusters; a fleet of ten
//! thousand is 157 words, which is less than a compressed bitmap needs to find its containers.

/// A set of numbers. Words that are not there are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub fn has(&self, id: u32) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Puts a number in or takes it out; says whether that changed anything.
    pub fn set(&mut self, id: u32, on: bool) -> bool {
        let (at, mask) = (id as usize / 64, 1_u64 << (id % 64));
        if at >= self.0.len() {
            if !on {
                return false;
            }
            self.0.resize(at + 1, 0);
        }
        let before = self.0[at];
        self.0[at] = if on { before | mask } else { before & !mask };
        self.0[at] != before
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub fn words(&self) -> usize {
        self.0.len()
    }

    /// Becomes what another set is, in the memory that it has.
    pub fn copy(&mut self, other: &Self) {
        self.0.clear();
        self.0.extend_from_slice(&other.0);
    }

    pub fn and(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    pub fn without(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    pub fn or(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// The numbers in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().zip(0_u32..).flat_map(|(word, at)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// Whether both hold the same numbers, however many empty words follow.
    pub fn same(&self, other: &Self) -> bool {
        let (short, long) =
            if self.0.len() < other.0.len() { (&self.0, &other.0) } else { (&other.0, &self.0) };
        long[..short.len()] == short[..] && long[short.len()..].iter().all(|word| *word == 0)
    }
}

impl FromIterator<u32> for Bits {
    fn from_iter<T: IntoIterator<Item = u32>>(ids: T) -> Self {
        let mut bits = Self::default();
        ids.into_iter().for_each(|id| _ = bits.set(id, true));
        bits
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_sets(a: BTreeSet<u16>, b: BTreeSet<u16>) {
            let bits = |set: &BTreeSet<u16>| set.iter().map(|id| u32::from(*id)).collect::<Bits>();
            let ids = |bits: &Bits| bits.iter().map(|id| u16::try_from(id).expect("small")).collect::<BTreeSet<_>>();
            let with = |change: fn(&mut Bits, &Bits)| {
                let mut changed = bits(&a);
                change(&mut changed, &bits(&b));
                ids(&changed)
            };
            prop_assert_eq!(with(Bits::and), &a & &b);
            prop_assert_eq!(with(Bits::or), &a | &b);
            prop_assert_eq!(with(Bits::without), &a - &b);
            prop_assert_eq!(with(Bits::copy), b.clone());
            prop_assert_eq!(bits(&a).same(&bits(&b)), a == b);
            prop_assert_eq!(bits(&a).is_empty(), a.is_empty());
        }
    }
}
