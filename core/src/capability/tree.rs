//! Expressions as trees: the tests of one variable in an expression in reverse Polish order.
//!
//! Reading is lenient; the result is rendered again and compared (`block`).

use smallvec::SmallVec;

use crate::base::limits;
use crate::biscuit::datalog::{Binary, Expression, Op, Term};

/// A test of a view, or a combination of tests.
#[derive(Clone, Debug)]
pub(crate) enum Tree<'a> {
    /// `$view operator literal`.
    Test(Binary, Term<'a>),
    /// `set.contains($view)`.
    In(Term<'a>),
    /// `!tree`.
    Not(Box<Tree<'a>>),
    /// `tree && tree`.
    And(Box<Tree<'a>>, Box<Tree<'a>>),
    /// `tree || tree`.
    Or(Box<Tree<'a>>, Box<Tree<'a>>),
}

/// Returns `$view operator literal`.
pub(crate) fn test<'a>(view: &Term<'a>, operator: Binary, literal: Term<'a>) -> Expression<'a> {
    [Op::Value(view.clone()), Op::Value(literal), Op::Binary(operator)].into()
}

/// Returns `set.contains($view)`.
pub(crate) fn within<'a>(view: &Term<'a>, set: Term<'a>) -> Expression<'a> {
    [Op::Value(set), Op::Value(view.clone()), Op::Binary(Binary::Contains)].into()
}

/// Returns the expressions joined by an operator, from left to right.
pub(crate) fn join<'a>(
    parts: impl IntoIterator<Item = Expression<'a>>,
    operator: Binary,
) -> Expression<'a> {
    let mut joined = Expression::new();
    for (at, part) in parts.into_iter().enumerate() {
        joined.extend(part);
        if at > 0 {
            joined.push(Op::Binary(operator));
        }
    }
    joined
}

/// Returns whether a step of an expression matches a pattern.
pub(crate) fn is_pattern(op: &Op<'_>) -> bool {
    matches!(op, Op::Binary(Binary::Regex))
}

/// An item of the stack while an expression is read. A tree has its nesting depth.
enum Item<'a> {
    View,
    Literal(Term<'a>),
    Tree(Tree<'a>, usize),
}

/// The deepest nesting. A range in a constraint nests once more than the constraint.
const DEPTH_MAX: usize = 2 * limits::CONSTRAINT_DEPTH_MAX;

/// Reads an expression over this variable; `None` if Sublet does not write such expressions, or it
/// nests too deeply.
pub(crate) fn read<'a>(expression: &[Op<'a>], view: &Term<'a>) -> Option<Tree<'a>> {
    let mut stack: SmallVec<[Item<'a>; 4]> = SmallVec::new();
    for op in expression {
        let item = match op {
            Op::Value(term @ Term::Variable(_)) if term == view => Item::View,
            Op::Value(Term::Variable(_)) => return None,
            Op::Value(literal) => Item::Literal(literal.clone()),
            Op::Negate => match stack.pop()? {
                Item::Tree(tree, depth) if depth < DEPTH_MAX => {
                    Item::Tree(Tree::Not(Box::new(tree)), depth + 1)
                }
                _ => return None,
            },
            Op::Binary(operator) => {
                let (right, left) = (stack.pop()?, stack.pop()?);
                combine(left, *operator, right)?
            }
        };
        stack.push(item);
    }
    match (stack.pop(), stack.is_empty()) {
        (Some(Item::Tree(tree, _)), true) => Some(tree),
        _ => None,
    }
}

fn combine<'a>(left: Item<'a>, operator: Binary, right: Item<'a>) -> Option<Item<'a>> {
    match (left, operator, right) {
        (Item::Tree(left, l), Binary::And | Binary::Or, Item::Tree(right, r)) => {
            // A chain of one operator leans to the left and counts as one level, however long it
            // is.
            let chain = match operator {
                Binary::And => matches!(left, Tree::And(..)),
                _ => matches!(left, Tree::Or(..)),
            };
            let depth = (r + 1).max(if chain { l } else { l + 1 });
            let (left, right) = (Box::new(left), Box::new(right));
            let tree = match operator {
                Binary::And => Tree::And(left, right),
                _ => Tree::Or(left, right),
            };
            (depth <= DEPTH_MAX).then_some(Item::Tree(tree, depth))
        }
        (Item::View, operator, Item::Literal(literal)) => {
            Some(Item::Tree(Tree::Test(operator, literal), 1))
        }
        (Item::Literal(set @ Term::Set(_)), Binary::Contains, Item::View) => {
            Some(Item::Tree(Tree::In(set), 1))
        }
        _ => None,
    }
}

impl<'a> Tree<'a> {
    /// Returns the parts of a chain of `&&`, or the tree alone.
    pub(crate) fn conjuncts(self) -> Vec<Tree<'a>> {
        self.parts(|tree| match tree {
            Tree::And(left, right) => Ok((*left, *right)),
            other => Err(other),
        })
    }

    /// Returns the parts of a chain of `||`, or the tree alone.
    pub(crate) fn disjuncts(self) -> Vec<Tree<'a>> {
        self.parts(|tree| match tree {
            Tree::Or(left, right) => Ok((*left, *right)),
            other => Err(other),
        })
    }

    /// Splits a chain, which leans to the left: `((a op b) op c)`.
    fn parts(self, split: impl Fn(Self) -> Result<(Self, Self), Self>) -> Vec<Tree<'a>> {
        let (mut parts, mut rest) = (Vec::new(), self);
        loop {
            match split(rest) {
                Ok((left, right)) => {
                    parts.push(right);
                    rest = left;
                }
                Err(first) => {
                    parts.push(first);
                    parts.reverse();
                    return parts;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> Term<'static> {
        Term::variable("v")
    }

    fn one() -> Expression<'static> {
        test(&view(), Binary::Prefix, Term::text("a"))
    }

    fn is_read(expression: &Expression<'_>) -> bool {
        read(expression, &view()).is_some()
    }

    /// What nests deeper is not read at all, so that no expression costs more stack than ours do.
    #[test]
    fn an_expression_is_read_as_deep_as_ours_nest_and_no_deeper() {
        let negated = |times: usize| {
            let mut expression = one();
            expression.extend((0..times).map(|_| Op::Negate));
            expression
        };
        let leaning_right = |operators: usize| {
            let mut expression: Expression<'_> = (0..=operators).flat_map(|_| one()).collect();
            expression.extend((0..operators).map(|_| Op::Binary(Binary::And)));
            expression
        };
        let alternating = |operators: usize| {
            let mut expression = one();
            for at in 0..operators {
                expression.extend(one());
                expression.push(Op::Binary([Binary::And, Binary::Or][at % 2]));
            }
            expression
        };
        for nested in
            [&negated as &dyn Fn(usize) -> Expression<'static>, &leaning_right, &alternating]
        {
            assert!(is_read(&nested(DEPTH_MAX - 1)));
            assert!(!is_read(&nested(DEPTH_MAX)) && !is_read(&nested(100)));
        }
    }

    #[test]
    fn a_chain_of_one_operator_is_one_level_however_long() {
        for operator in [Binary::And, Binary::Or] {
            assert!(is_read(&join((0..100).map(|_| one()), operator)));
        }
    }
}
