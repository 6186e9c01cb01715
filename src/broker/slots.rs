//! Numbered places, the lowest free one given first: rows, channels, reader entries.

/// Up to `limit` places.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Option<T>>,
    /// No place below is free.
    lowest: usize,
    used: usize,
    limit: u32,
}

impl<T> Slots<T> {
    pub(super) fn new(limit: u32) -> Self {
        Slots { slots: Vec::new(), lowest: 0, used: 0, limit }
    }

    /// Puts `value` into the lowest free place; `None` if there is none.
    pub(super) fn insert(&mut self, value: T) -> Option<u32> {
        if self.left() == 0 {
            return None;
        }
        let free = self.slots.iter().skip(self.lowest).position(Option::is_none);
        let place = free.map_or(self.slots.len(), |offset| self.lowest + offset);
        match self.slots.get_mut(place) {
            Some(slot) => *slot = Some(value),
            None => self.slots.push(Some(value)),
        }
        self.lowest = place + 1;
        self.used += 1;
        u32::try_from(place).ok()
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.slots.get_mut(place as usize)?.take()?;
        self.lowest = self.lowest.min(place as usize);
        self.used -= 1;
        Some(value)
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.slots.get(place as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.slots.get_mut(place as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(place, slot)| Some((place, slot.as_ref()?)))
    }

    /// How many are in use.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// How many are free.
    pub(super) fn left(&self) -> usize {
        (self.limit as usize).saturating_sub(self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_place_comes_first() {
        let mut slots = Slots::new(3);
        assert_eq!([slots.insert('a'), slots.insert('b'), slots.insert('c')], [Some(0), Some(1), Some(2)]);
        assert_eq!(slots.insert('d'), None);
        assert_eq!((slots.remove(1), slots.remove(1), slots.remove(7)), (Some('b'), None, None));
        assert_eq!(slots.remove(0), Some('a'));
        assert_eq!((slots.len(), slots.left()), (1, 2));
        assert_eq!([slots.insert('e'), slots.insert('f'), slots.insert('g')], [Some(0), Some(1), None]);
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(0, &'e'), (1, &'f'), (2, &'c')]);
        assert_eq!((slots.get(1), slots.get(3)), (Some(&'f'), None));
    }
}
