//! What readers and watches of a table must see: the simplest that could be right. Nothing is ever overwritten here: of each owner of the table all
//! states are kept, and readers are asked by number.

use std::collections::BTreeSet;

/// How many owners of a table a reader remembers.
const KEPT: usize = 4;
/// How many that have ended the broker keeps, if that many can be asked for.
const ENDED: usize = 3;

/// An item: its value, and the owner and the commit that have set it; `None`: never set.
pub type Item = (Vec<u8>, Option<(usize, u64)>);

/// What an owner of the table has made of it.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Which writer it is.
    pub writer: usize,
    /// By commit: all items after it. The first is the commit that took the table over.
    pub states: Vec<(u64, Vec<Item>)>,
}

/// Up to where somebody has seen the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub owner: usize,
    pub commit: u64,
}

/// What a watch is to be told next.
#[derive(Clone, Debug)]
pub struct Told {
    pub wanted: BTreeSet<u32>,
    pub synced: bool,
    pub pending: BTreeSet<u32>,
    pub era: Option<u64>,
    /// The owner whose commits it has last compared, at least.
    pub owner: usize,
    /// A writer of the table has gone: it compares, once it is told.
    pub gone: Option<u64>,
    /// Commits since it was last asked: it may have missed some, and looks for itself.
    pub commits: u64,
}

#[derive(Debug, Default)]
pub struct Oracle {
    /// Commits of all writers, counted together.
    pub commits: u64,
    pub owners: Vec<Owner>,
    /// Who owns the table, as an index of `owners`.
    pub owner: Option<usize>,
    /// Of each sealed era: the last commit of each writer that is in it.
    pub cuts: Vec<Vec<u64>>,
    /// In lockstep: the last commit before the writer's permit for the open era.
    pub permits: Vec<Option<u64>>,
    pub lockstep: bool,
    /// For each reader the owners that it knows, oldest first.
    pub known: Vec<Vec<usize>>,
    pub told: Vec<Told>,
    /// Commits of each writer that set something: which items.
    changes: Vec<(u64, usize, BTreeSet<u32>)>,
    /// Messages: the commit and its writer.
    pub messages: Vec<(u64, usize)>,
}

impl Oracle {
    pub fn new(writers: usize, lockstep: bool) -> Oracle {
        Oracle { permits: vec![None; writers], lockstep, ..Oracle::default() }
    }

    pub fn generation(&self) -> u64 {
        self.cuts.len() as u64
    }

    /// Up to where a writer is in an era.
    fn cut(&self, era: u64, writer: usize) -> u64 {
        if era == 0 { 0 } else { self.cuts[era as usize - 1][writer] }
    }

    // ---- what writers do ----

    /// A writer takes the table over.
    pub fn open(&mut self, writer: usize, zeros: &[Vec<u8>]) {
        assert_eq!(self.owner, None);
        self.commits += 1;
        let items = match self.owners.last() {
            Some(last) => last.states.last().unwrap().1.clone(),
            None => zeros.iter().map(|value| (value.clone(), None)).collect(),
        };
        self.owners.push(Owner { writer, states: vec![(self.commits, items)] });
        let number = self.owners.len() - 1;
        self.owner = Some(number);
        for known in &mut self.known {
            known.push(number);
            if known.len() > KEPT {
                known.remove(0);
            }
        }
    }

    /// The owner gives it up, or is gone.
    pub fn close(&mut self) {
        self.owner = None;
    }

    /// The owner commits these, or a message, or both.
    pub fn commit(&mut self, writer: usize, sets: &[(u32, Vec<u8>)], message: bool) {
        self.commits += 1;
        if message {
            self.messages.push((self.commits, writer));
        }
        if sets.is_empty() {
            return;
        }
        let number = self.owner.expect("an owner");
        let owner = &mut self.owners[number];
        assert_eq!(owner.writer, writer);
        let mut items = owner.states.last().unwrap().1.clone();
        for (index, value) in sets {
            items[*index as usize] = (value.clone(), Some((number, self.commits)));
        }
        owner.states.push((self.commits, items));
        let changed: BTreeSet<u32> = sets.iter().map(|(index, _)| *index).collect();
        for told in &mut self.told {
            told.commits += 1;
            if !told.synced {
                told.pending.extend(changed.intersection(&told.wanted));
            }
        }
        self.changes.push((self.commits, writer, changed));
    }

    /// Seals an era: all that was committed, or in lockstep all that was permitted.
    pub fn seal(&mut self) {
        let commits = self.commits;
        let cuts: Vec<u64> = self.permits.iter_mut().map(|permit| permit.take().unwrap_or(commits)).collect();
        self.cuts.push(cuts);
        let era = self.generation();
        for (commit, writer, changed) in &self.changes {
            if *commit > self.cut(era - 1, *writer) && *commit <= self.cut(era, *writer) {
                for told in self.told.iter_mut().filter(|told| told.synced) {
                    let mut wanted = changed.intersection(&told.wanted).peekable();
                    if wanted.peek().is_some() {
                        told.era = Some(era);
                    }
                    told.pending.extend(wanted);
                }
            }
        }
    }

    /// The messages of an era.
    pub fn messages_of(&self, era: u64) -> Vec<u64> {
        let is_in = |(commit, writer): &&(u64, usize)| {
            *commit > self.cut(era - 1, *writer) && *commit <= self.cut(era, *writer)
        };
        self.messages.iter().filter(is_in).map(|(commit, _)| *commit).collect()
    }

    /// A writer has gone that has owned the table.
    pub fn leave(&mut self) {
        let generation = self.generation();
        self.told.iter_mut().for_each(|told| told.gone = Some(generation));
    }

    /// A watch is asked: what it must tell, and whether it may tell more, since it can not follow so many owners.
    pub fn ask(&mut self, watch: usize, lap: u64) -> (Vec<u32>, Option<u64>, bool) {
        let (generation, last) = (self.generation(), self.owners.len() - 1);
        let told = &mut self.told[watch];
        let is_lapped = std::mem::take(&mut told.commits) > lap;
        // It compares with where it last knew all, which may be with an earlier owner.
        let may_be_more = (told.gone.is_some() || is_lapped) && last > told.owner;
        let is_told = told.gone.is_some_and(|gone| !told.synced || generation > gone);
        let era = told.era.take().filter(|_| !is_lapped && told.gone.is_none());
        if is_told {
            told.gone = None;
            if !told.synced {
                told.owner = last;
            }
        }
        (std::mem::take(&mut told.pending).into_iter().collect(), era, may_be_more)
    }

    // ---- what readers see ----

    /// A reader comes.
    pub fn reader(&self) -> Vec<usize> {
        let generation = self.generation();
        let was_there = |owner: &Owner| generation > 1 && owner.states[0].0 <= self.cut(generation - 1, owner.writer);
        let needed = self.owners.iter().rposition(was_there).unwrap_or(0);
        let ended = self.owners.len() - usize::from(self.owner.is_some());
        (needed.max(ended.saturating_sub(ENDED))..self.owners.len()).collect()
    }

    /// The table now.
    pub fn latest(&self) -> Mark {
        Mark { owner: self.owners.len() - 1, commit: self.commits }
    }

    /// The table as of a sealed era, as far as this reader knows of it.
    pub fn at(&self, reader: usize, era: u64) -> Option<Mark> {
        let generation = self.generation();
        if era == 0 || era > generation || era + 1 < generation {
            return None;
        }
        self.at_of(&self.known[reader], era)
    }

    fn at_of(&self, known: &[usize], era: u64) -> Option<Mark> {
        let marks = known.iter().rev().map(|&owner| Mark { owner, commit: self.cut(era, self.owners[owner].writer) });
        marks.into_iter().find(|mark| self.owners[mark.owner].states[0].0 <= mark.commit)
    }

    /// All items there.
    pub fn items(&self, mark: Mark) -> &[Item] {
        let states = &self.owners[mark.owner].states;
        let after = states.partition_point(|(commit, _)| *commit <= mark.commit);
        &states[after - 1].1
    }

    /// Whether an item was set between two marks, as far as this reader can tell.
    pub fn changed_since(&self, reader: usize, view: Mark, index: u32, seen: Mark) -> bool {
        let set = self.items(view)[index as usize].1;
        let is_set_by = |set: Option<(usize, u64)>, owner: usize| set.filter(|(by, _)| *by == owner);
        if view.owner == seen.owner {
            return is_set_by(set, view.owner).is_some_and(|(_, commit)| commit > seen.commit);
        }
        let Some((by, commit)) = set else { return false };
        let known = &self.known[reader];
        if by > seen.owner || !known.contains(&seen.owner) || seen.owner > view.owner {
            return true;
        }
        by == seen.owner && commit > seen.commit
    }

    /// Whether an item was set in an era.
    pub fn changed(&self, reader: usize, era: u64, view: Mark, index: u32) -> bool {
        let known = &self.known[reader];
        let at = known.iter().position(|&owner| owner == view.owner).expect("a view of one that is known");
        match self.at_of(&known[..=at], era - 1) {
            Some(before) if era > 1 => self.changed_since(reader, view, index, before),
            // There was none.
            _ => self.items(view)[index as usize].1.is_some(),
        }
    }
}
