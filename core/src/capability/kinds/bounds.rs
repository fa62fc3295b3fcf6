//! Two inclusive bounds on a number, for `range` and `decimal`.

use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::tree::{Tree, test};

/// The numbers from `min` to `max`, both inclusive. At least one bound is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(super) min: Option<i64>,
    pub(super) max: Option<i64>,
}

impl Bounds {
    pub(super) fn contains(&self, value: i64) -> bool {
        self.min.is_none_or(|min| min <= value) && self.max.is_none_or(|max| value <= max)
    }

    pub(super) fn covers(&self, child: &Bounds) -> bool {
        let low = self.min.is_none_or(|min| child.min.is_some_and(|c| min <= c));
        let high = self.max.is_none_or(|max| child.max.is_some_and(|c| c <= max));
        low && high
    }

    /// Returns the intersection of the bounds.
    pub(super) fn meet(&self, other: &Bounds) -> (Option<i64>, Option<i64>) {
        let min = self.min.into_iter().chain(other.min).max();
        (min, self.max.into_iter().chain(other.max).min())
    }

    pub(super) fn excludes(&self, other: &Bounds) -> bool {
        let below =
            |a: &Bounds, b: &Bounds| a.max.is_some_and(|max| b.min.is_some_and(|m| max < m));
        below(self, other) || below(other, self)
    }

    pub(super) fn tests<'a>(&self, view: &Term<'a>) -> Vec<Expression<'a>> {
        let bound = |limit: Option<i64>, operator| {
            limit.map(|limit| test(view, operator, Term::Integer(limit)))
        };
        let low = bound(self.min, Binary::GreaterOrEqual);
        low.into_iter().chain(bound(self.max, Binary::LessOrEqual)).collect()
    }

    pub(super) fn lift(tests: &[Tree<'_>]) -> Option<(Option<i64>, Option<i64>)> {
        use Tree::Test;
        match tests {
            [
                Test(Binary::GreaterOrEqual, Term::Integer(min)),
                Test(Binary::LessOrEqual, Term::Integer(max)),
            ] => Some((Some(*min), Some(*max))),
            [Test(Binary::GreaterOrEqual, Term::Integer(min))] => Some((Some(*min), None)),
            [Test(Binary::LessOrEqual, Term::Integer(max))] => Some((None, Some(*max))),
            _ => None,
        }
    }
}
