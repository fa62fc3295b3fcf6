//! Writes mutants into a source file, each behind a question to the switch. What is changed is taken word for
//! word from the source as cargo-mutants would change it, so a changed branch holds no other mutant, and the
//! text grows by the mutants and not by their nesting.
use std::collections::HashMap;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, ExprBinary, ReturnType, Signature};

use crate::list::Mutant;
use crate::text::{Piece, Position, Source, Wrap, Written, write};

/// The file with its mutants, and those that found no place in it.
pub fn instrument(text: &str, mutants: &[&Mutant]) -> Result<(Written, Vec<u32>), syn::Error> {
    let file = syn::parse_file(text)?;
    let mut places: HashMap<(Position, &str), Vec<&Mutant>> = HashMap::new();
    for mutant in mutants {
        places.entry((mutant.start, &mutant.genre)).or_default().push(mutant);
    }
    let mut visitor = Instrument { source: Source::new(text), places, wraps: Vec::new() };
    visitor.visit_file(&file);
    let wraps = visitor.wraps;
    let placed: Vec<u32> = wraps.iter().flat_map(|wrap| wrap.mutants.clone()).collect();
    let left = mutants.iter().map(|mutant| mutant.number).filter(|number| !placed.contains(number));
    let left = left.collect();
    Ok((write(text, wraps), left))
}

fn asks(mutant: &Mutant) -> String {
    format!("crate::__mutant({})", mutant.number)
}

struct Instrument<'a> {
    source: Source<'a>,
    places: HashMap<(Position, &'a str), Vec<&'a Mutant>>,
    wraps: Vec<Wrap>,
}

impl<'a> Instrument<'a> {
    fn at(&self, start: proc_macro2::LineColumn, genre: &'static str) -> Vec<&'a Mutant> {
        self.places.get(&(start.into(), genre)).cloned().unwrap_or_default()
    }

    fn range(&self, span: proc_macro2::Span) -> Range<usize> {
        self.source.range(span.start().into(), span.end().into())
    }

    /// The text of a range with what the mutant changes in it; `None` if that is no expression.
    fn changed(&self, range: &Range<usize>, mutant: &Mutant) -> Option<String> {
        let Range { start, end } = self.source.range(mutant.start, mutant.end);
        let text = self.source.text;
        let (before, after) = (&text[range.start..start], &text[end..range.end]);
        let changed = format!("{before}{} {after}", mutant.replacement);
        syn::parse_str::<Expr>(&changed).ok().map(|_| changed)
    }

    /// The expression, or what one of the mutants makes of it.
    fn alternatives(&mut self, range: Range<usize>, mutants: &[&Mutant]) {
        let mut before = vec![Piece::glue("(")];
        let mut placed = Vec::new();
        for mutant in mutants {
            let Some(changed) = self.changed(&range, mutant) else { continue };
            before.push(Piece::glue(format!("if {} {{ ", asks(mutant))));
            before.push(Piece::of(mutant.number, changed));
            before.push(Piece::glue(" } else "));
            placed.push(mutant.number);
        }
        before.push(Piece::glue("{ "));
        if !placed.is_empty() {
            let after = vec![Piece::glue(" })")];
            self.wraps.push(Wrap { range, rank: 1, before, after, mutants: placed });
        }
    }

    /// The operators of a chain such as `a && b == c + d` are changed in the text of the whole chain, because
    /// another operator may bind otherwise. A chain with `let` can stand in no block: its links stand alone.
    fn chain(&mut self, chain: &ExprBinary) {
        let mut operators = Vec::new();
        let mut operands = Vec::new();
        if has_let(chain) {
            operands = vec![&*chain.left, &*chain.right];
        } else {
            links(chain, &mut operators, &mut operands);
        }
        let mutants: Vec<&Mutant> =
            operators.iter().flat_map(|start| self.at(*start, "BinaryOperator")).collect();
        self.alternatives(self.range(chain.span()), &mutants);
        for operand in operands {
            self.visit_expr(operand);
        }
    }

    fn function(&mut self, signature: &Signature, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let mutants = self.at(first.span().start(), "FnValue");
        if mutants.is_empty() || signature.constness.is_some() || signature.asyncness.is_some() {
            return;
        }
        let item = iterator_item(&signature.output).map(|span| self.range(span));
        let opaque = matches!(&signature.output, ReturnType::Type(_, ty) if matches!(**ty, syn::Type::ImplTrait(_)));
        if opaque && item.is_none() {
            return;
        }
        let body = self.range(block.span());
        let body = body.start + 1..body.end - 1;
        let mut before = Vec::new();
        for mutant in &mutants {
            before.push(Piece::glue(format!(" if {} {{ ", asks(mutant))));
            before.extend(returned(mutant, item.clone().map(|item| &self.source.text[item])));
            before.push(Piece::glue(" } "));
        }
        let mut after = Vec::new();
        if item.is_some() {
            before.push(Piece::glue(" crate::mutant_switch::Either::Original({ "));
            after.push(Piece::glue(" }) "));
        }
        let mutants = mutants.iter().map(|mutant| mutant.number).collect();
        self.wraps.push(Wrap { range: body, rank: 0, before, after, mutants });
    }

    /// A deleted arm is one that never takes what it is given.
    fn arm(&mut self, arm: &syn::Arm) {
        let end = self.range(arm.pat.span()).end;
        for mutant in self.at(arm.span().start(), "MatchArm") {
            let before = vec![Piece::glue(format!(" if !{}", asks(mutant)))];
            let mutants = vec![mutant.number];
            self.wraps.push(Wrap { range: end..end, rank: 0, before, after: Vec::new(), mutants });
        }
    }

    fn guard(&mut self, guard: &Expr) {
        let mutants = self.at(guard.span().start(), "MatchArmGuard");
        if mutants.is_empty() {
            return;
        }
        let mut before = String::from("(");
        for mutant in &mutants {
            let question = asks(mutant);
            before += &match mutant.replacement.as_str() {
                "true" => format!("{question} || "),
                _ => format!("!{question} && "),
            };
        }
        before += "(";
        let mutants = mutants.iter().map(|mutant| mutant.number).collect();
        let (before, after) = (vec![Piece::glue(before)], vec![Piece::glue("))")]);
        self.wraps.push(Wrap { range: self.range(guard.span()), rank: 0, before, after, mutants });
    }
}

fn returned(mutant: &Mutant, item: Option<&str>) -> Vec<Piece> {
    let value = &mutant.replacement;
    match item {
        None if value == "()" => vec![Piece::of(mutant.number, "return;")],
        None => {
            vec![Piece::glue("return "), Piece::of(mutant.number, value), Piece::glue(";")]
        }
        Some(item) => vec![
            Piece::glue("return crate::mutant_switch::Either::Changed("),
            Piece::of(
                mutant.number,
                format!(
                    "::std::boxed::Box::new({value}) as ::std::boxed::Box<dyn ::std::iter::Iterator<Item = {item}> + '_>"
                ),
            ),
            Piece::glue(");"),
        ],
    }
}

/// The item of `impl Iterator<Item = …>`, where nothing else but a lifetime is promised.
fn iterator_item(output: &ReturnType) -> Option<proc_macro2::Span> {
    let ReturnType::Type(_, ty) = output else { return None };
    let syn::Type::ImplTrait(promised) = &**ty else { return None };
    let mut item = None;
    for bound in &promised.bounds {
        match bound {
            syn::TypeParamBound::Trait(bound) => {
                let last = bound.path.segments.last()?;
                let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
                    return None;
                };
                let Some(syn::GenericArgument::AssocType(assigned)) = arguments.args.first() else {
                    return None;
                };
                if last.ident != "Iterator" || item.is_some() {
                    return None;
                }
                item = Some(assigned.ty.span());
            }
            syn::TypeParamBound::Lifetime(_) | syn::TypeParamBound::PreciseCapture(_) => {}
            _ => return None,
        }
    }
    item
}

fn has_let(expr: &ExprBinary) -> bool {
    [&expr.left, &expr.right].iter().any(|side| match &***side {
        Expr::Let(_) => true,
        Expr::Binary(inner) => has_let(inner),
        _ => false,
    })
}

fn links<'e>(
    expr: &'e ExprBinary,
    operators: &mut Vec<proc_macro2::LineColumn>,
    operands: &mut Vec<&'e Expr>,
) {
    operators.push(expr.op.span().start());
    for side in [&expr.left, &expr.right] {
        match &**side {
            Expr::Binary(inner) => links(inner, operators, operands),
            other => operands.push(other),
        }
    }
}

impl<'ast> Visit<'ast> for Instrument<'_> {
    fn visit_item_fn(&mut self, i: &'ast syn::ItemFn) {
        self.function(&i.sig, &i.block);
        // The inside of a const fn cannot ask.
        if i.sig.constness.is_none() {
            visit::visit_block(self, &i.block);
        }
    }

    fn visit_impl_item_fn(&mut self, i: &'ast syn::ImplItemFn) {
        self.function(&i.sig, &i.block);
        if i.sig.constness.is_none() {
            visit::visit_block(self, &i.block);
        }
    }

    fn visit_trait_item_fn(&mut self, i: &'ast syn::TraitItemFn) {
        if let Some(block) = &i.default {
            self.function(&i.sig, block);
            visit::visit_block(self, block);
        }
    }

    // Constants and types cannot ask either.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    fn visit_expr_repeat(&mut self, i: &'ast syn::ExprRepeat) {
        self.visit_expr(&i.expr);
    }

    fn visit_expr_binary(&mut self, i: &'ast ExprBinary) {
        self.chain(i);
    }

    fn visit_expr_unary(&mut self, i: &'ast syn::ExprUnary) {
        let mutants = self.at(i.op.span().start(), "UnaryOperator");
        self.alternatives(self.range(i.span()), &mutants);
        visit::visit_expr_unary(self, i);
    }

    fn visit_expr_match(&mut self, i: &'ast syn::ExprMatch) {
        // A guarded arm does not count towards exhaustiveness: something must be left that takes all.
        if i.arms.iter().any(|arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none()) {
            i.arms.iter().for_each(|arm| self.arm(arm));
        }
        visit::visit_expr_match(self, i);
    }

    fn visit_arm(&mut self, i: &'ast syn::Arm) {
        if let Some((_, guard)) = &i.guard {
            self.guard(guard);
        }
        visit::visit_arm(self, i);
    }

    fn visit_expr_struct(&mut self, i: &'ast syn::ExprStruct) {
        let starts = i.fields.iter().map(|field| field.span().start());
        let mutants: Vec<&Mutant> =
            starts.flat_map(|start| self.at(start, "StructField")).collect();
        self.alternatives(self.range(i.span()), &mutants);
        visit::visit_expr_struct(self, i);
    }
}
