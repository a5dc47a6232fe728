//! What queries of an object wait for, and what they leave behind: its indexes, and passes over its rows.

use super::aggregate::Aggregate;
use super::collection::Collection;
use super::index::{Building, Index};
use super::pass::Pass;
use super::plan::{Plan, Source, clauses};
use super::rows::Stamp;
use super::{Condition, Path, Query};

/// An index is built without being declared once queries have looked at so many times as many rows for want of it as there are.
const WASTE: usize = 8;
/// With fewer rows no index is built that is not declared.
const FEW: usize = 256;
/// The most indexes of an object that are not declared.
const MOST_UNDECLARED: usize = 8;
/// So often an index or a pass is begun anew because rows changed meanwhile; then it is done at once.
const MOST_BEGUN: u32 = 3;
/// The most passes that are kept, or under way.
const MOST_PASSES: usize = 8;

impl Collection {
    /// So many rows are taken over or looked at in a portion: about a millisecond, of which the page takes several at a time.
    pub(super) const fn portion(&self) -> usize {
        self.at_once.div_ceil(16)
    }

    /// What a pass found that a query wants.
    pub(super) fn known(&self, query: &Query) -> Option<&Pass> {
        known_among(&self.passes, query, None, self.last_change)
    }

    /// Builds those indexes at once that may be of use.
    pub(super) fn build_for(&mut self, query: &Query) {
        for paths in self.missing_for(query) {
            self.indexes.push(Index::build(paths, &self.rows));
            (self.building, self.begun) = (None, 0);
        }
    }

    /// The indexes, declared or wanted, that may be of use and are not there.
    fn missing_for(&self, query: &Query) -> Vec<Vec<Path>> {
        let names = query.names();
        let is_of_use =
            |paths: &[Path]| paths.first().is_some_and(|path| names.contains(&path.whole.as_str()));
        let is_built = |paths: &[Path]| self.indexes.iter().any(|index| index.paths == *paths);
        let all = self.declared.iter().chain(&self.wanted);
        all.filter(|paths| is_of_use(paths) && !is_built(paths)).cloned().collect()
    }

    pub(super) fn is_waiting(&mut self, query: &Query, of: Option<&Aggregate>) -> bool {
        if self.rows.len() <= self.at_once {
            return false;
        }
        let Some(paths) = self.missing_for(query).pop() else { return self.is_passing(query, of) };
        if self.building.as_ref().is_some_and(|(_, stamp)| *stamp == self.last_change) {
            // This one or another: one after the other.
            return true;
        }
        let may_begin = self.begun < MOST_BEGUN;
        if may_begin {
            self.building = Some((Building::new(paths, &self.rows), self.last_change));
            self.begun += 1;
        } else {
            self.begun = 0;
        }
        may_begin
    }

    /// Whether a query looks at so many rows that it waits until that is done, or until they are in its order.
    fn is_passing(&mut self, query: &Query, of: Option<&Aggregate>) -> bool {
        let plan = query.plan(&self.rows, &self.indexes);
        let mut candidates = plan.candidates(&self.rows, &self.indexes);
        if candidates <= self.at_once {
            return false;
        }
        if !plan.is_exact || query.search.is_some() || of.is_some() {
            match self.passes.iter().find(|pass| pass.stamp == self.last_change && pass.is_of(query, of)) {
                Some(pass) if pass.is_done => candidates = pass.found.len(),
                Some(_) => return true,
                None if query.ends_within(&plan, &self.rows, &self.indexes, self.at_once) => return false,
                None => return self.begin_pass(query, of, plan),
            }
        }
        if plan.sorted_by.is_some() || query.order_by.is_empty() || candidates <= self.at_once {
            return false;
        }
        // Of fewer an index by what is looked for is taken all the same.
        let is_of_use = candidates * 2 > self.rows.len();
        let key =
            query.order_by.first().map(|key| &key.path).filter(|path| is_of_use && path.parts.is_none());
        key.is_some_and(|path| self.want(vec![path.clone()])) && self.is_waiting(query, of)
    }

    /// Begins a pass for a query, unless it was in vain too often, because the rows changed before anybody had what it found.
    fn begin_pass(&mut self, query: &Query, of: Option<&Aggregate>, plan: Plan) -> bool {
        let stamp = self.last_change;
        self.passes.iter_mut().filter(|pass| pass.stamp != stamp).for_each(Pass::give_up);
        let before = self.passes.iter().position(|pass| pass.is_of(query, of));
        let before = before.map(|place| self.passes.remove(place));
        let tries = before.map_or(0, |pass| pass.tries());
        if tries >= MOST_BEGUN {
            return false;
        }
        if self.passes.len() == MOST_PASSES {
            // Only what nobody waits for: else those who do could take it from each other for ever.
            let is_free = |pass: &Pass| pass.stamp != stamp || pass.is_used.get();
            let Some(place) = self.passes.iter().position(is_free) else { return false };
            self.passes.remove(place);
        }
        self.passes.push(Pass::new(query, of, plan, (&self.rows, &self.indexes), (stamp, tries)));
        true
    }

    /// Looks at a portion of the rows for those who wait; whether there are more.
    pub(super) fn pass_next(&mut self) -> bool {
        let portion = self.portion();
        let mut open = self.passes.iter_mut().filter(|pass| !pass.is_done && pass.stamp == self.last_change);
        let Some(pass) = open.next() else { return false };
        pass.step(&self.rows, portion);
        !pass.is_done || open.next().is_some()
    }

    /// Wants an index that is not declared; whether it may have it.
    fn want(&mut self, paths: Vec<Path>) -> bool {
        let is_declared = |paths: &Vec<Path>| self.declared.contains(paths);
        let undeclared = self.indexes.iter().filter(|index| !is_declared(&index.paths)).count();
        let is_there = is_declared(&paths) || self.indexes.iter().any(|index| index.paths == paths);
        let may_have =
            !is_there && !self.wanted.contains(&paths) && undeclared.max(self.wanted.len()) < MOST_UNDECLARED;
        if may_have {
            self.wanted.push(paths);
        }
        may_have
    }

    pub(super) fn build_next(&mut self) -> bool {
        let Some((mut building, stamp)) = self.building.take_if(|(_, stamp)| *stamp == self.last_change)
        else {
            return false;
        };
        match building.step(&self.rows) {
            Some(index) => {
                // A write may have wanted it, and could not wait.
                if !self.indexes.iter().any(|other| other.paths == index.paths) {
                    self.indexes.push(index);
                }
                self.begun = 0;
                false
            }
            None => {
                self.building = Some((building, stamp));
                true
            }
        }
    }

    /// Takes note of what a query looked at in vain, and builds the index that it wanted when that was too much.
    pub(super) fn note_waste(&mut self, query: &Query, plan: &Plan, wasted: usize) {
        if self.rows.len() < FEW || !matches!(plan.source, Source::Scan) || wasted == 0 {
            return;
        }
        let Some(paths) = query.wanted_index() else { return };
        let undeclared = self.indexes.iter().filter(|index| !self.declared.contains(&index.paths)).count();
        if undeclared >= MOST_UNDECLARED {
            return;
        }
        let place = self.wanting.iter().position(|(other, _)| *other == paths).unwrap_or_else(|| {
            self.wanting.push((paths.clone(), 0));
            self.wanting.len() - 1
        });
        let is_too_much = self.wanting.get_mut(place).is_some_and(|(_, sum)| {
            *sum += wasted;
            *sum > self.rows.len() * WASTE
        });
        if is_too_much {
            self.wanting.remove(place);
            if self.rows.len() > self.at_once {
                self.want(paths);
            } else {
                self.indexes.push(Index::build(paths, &self.rows));
            }
        }
    }
}

/// What a pass over the rows as they are found that a query wants, or computed of that.
pub(super) fn known_among<'a>(
    passes: &'a [Pass],
    query: &Query,
    of: Option<&Aggregate>,
    last_change: Stamp,
) -> Option<&'a Pass> {
    let is_it = |pass: &&Pass| pass.is_done && pass.stamp == last_change && pass.is_of(query, of);
    passes.iter().find(is_it).inspect(|pass| pass.is_used.set(true))
}

impl Query {
    /// The names of the fields that an index may begin with.
    fn names(&self) -> Vec<&str> {
        let condition = self.condition().map(clauses).unwrap_or_default();
        let filtered = condition.into_iter().filter_map(|clause| match clause {
            Condition::Field(path, _) => Some(path.whole.as_str()),
            Condition::After(values) => values.first().map(|(key, _)| key.path.whole.as_str()),
            _ => None,
        });
        filtered.chain(self.order_by.first().map(|key| key.path.whole.as_str())).collect()
    }

    /// The fields of the index that would serve it best.
    fn wanted_index(&self) -> Option<Vec<Path>> {
        let clauses = self.condition().map(clauses).unwrap_or_default();
        let is_plain = |path: &&Path| path.parts.is_none();
        let best = clauses.iter().filter_map(|clause| match clause {
            Condition::Field(path, test) => Some((path, test.selectivity()?)),
            _ => None,
        });
        let best =
            best.filter(|(path, _)| is_plain(path)).min_by_key(|(_, rank)| *rank).map(|(path, _)| path);
        let sorted = || self.limit.and(self.order_by.first()).map(|key| &key.path).filter(is_plain);
        best.or_else(sorted).map(|path| vec![path.clone()])
    }
}
