//! The names in `nixosConfigurations`, as far as they are written out.

use rnix::ast::{self, BinOpKind};

use crate::nix::attrs::{Attrs, Value, literal, unwrapped};
use crate::nix::syntax::node;

/// The attribute of the outputs that holds the hosts.
const HOSTS: &str = "nixosConfigurations";
/// How many names, operands and bindings are followed before a value counts as computed; `let a = b; b = a;` never ends.
const STEPS: u32 = 64;

/// The hosts of a flake whose function of the outputs has this body; `None` where they are not known without
/// evaluating.
pub(super) fn named(source: &str, body: ast::Expr) -> Option<Vec<String>> {
    let mut reader = ExpressionReader {
        source,
        scopes: Vec::new(),
        steps: STEPS,
    };
    reader.hosts(Term::Expr(body))
}

/// An expression that was followed to its end.
enum Term {
    Set(Attrs),
    Expr(ast::Expr),
}

/// What `nixosConfigurations` turned out to be.
enum Hosts {
    Is(Term),
    Absent,
    Computed,
}

/// Follows expressions as far as they are written out.
struct ExpressionReader<'a> {
    source: &'a str,
    scopes: Vec<Attrs>,
    steps: u32,
}

impl ExpressionReader<'_> {
    /// The names in `nixosConfigurations` of the set that `outputs` is.
    fn hosts(&mut self, outputs: Term) -> Option<Vec<String>> {
        match self.find_hosts(outputs) {
            Hosts::Is(term) => self.names(term),
            Hosts::Absent => Some(Vec::new()),
            Hosts::Computed => None,
        }
    }

    fn find_hosts(&mut self, outputs: Term) -> Hosts {
        match self.followed(outputs) {
            Some(Term::Set(attrs)) => match attrs.get(HOSTS) {
                Some(Value::Inherited(None)) => {
                    self.bound(HOSTS).map_or(Hosts::Computed, Hosts::Is)
                }
                Some(value) => value.term().map_or(Hosts::Computed, Hosts::Is),
                None if attrs.computed.is_empty() => Hosts::Absent,
                None => Hosts::Computed,
            },
            Some(Term::Expr(expr)) => match updated(&expr) {
                // The right side of `//` wins, and as a whole.
                Some((left, right)) => {
                    let outer = self.scopes.len();
                    match self.find_hosts(right) {
                        Hosts::Absent => {
                            self.scopes.truncate(outer);
                            self.find_hosts(left)
                        }
                        found => found,
                    }
                }
                None => Hosts::Computed,
            },
            None => Hosts::Computed,
        }
    }

    /// The names of the set that `term` is.
    fn names(&mut self, term: Term) -> Option<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        let more = match self.followed(term)? {
            Term::Set(attrs) => {
                names.extend(attrs.iter().map(|(name, _)| name.to_owned()));
                let computed = attrs.computed.iter();
                computed
                    .map(|name| self.computed_name(name))
                    .collect::<Option<_>>()?
            }
            Term::Expr(expr) => {
                let (left, right) = updated(&expr)?;
                let outer = self.scopes.len();
                names.extend(self.names(left)?);
                self.scopes.truncate(outer);
                self.names(right)?
            }
        };
        for name in more {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Some(names)
    }

    /// The name `${…}`, where it is bound to a text.
    fn computed_name(&mut self, name: &ast::Attr) -> Option<String> {
        let ast::Attr::Dynamic(name) = name else {
            return None;
        };
        match self.followed(Term::Expr(name.expr()?))? {
            Term::Expr(ast::Expr::Str(text)) => literal(&text),
            _ => None,
        }
    }

    /// A term after parentheses, `let … in`, `with …;`, `assert …;` and names bound by `let`.
    fn followed(&mut self, mut term: Term) -> Option<Term> {
        loop {
            self.steps = self.steps.checked_sub(1)?;
            let expr = match term {
                Term::Set(_) => return Some(term),
                Term::Expr(expr) => unwrapped(expr),
            };
            term = match expr {
                ast::Expr::AttrSet(set) => Term::Set(Attrs::read(self.source, node(&set)).ok()??),
                ast::Expr::LetIn(binding) => {
                    let scope = Attrs::read(self.source, node(&binding)).ok()??;
                    self.scopes.push(scope);
                    Term::Expr(binding.body()?)
                }
                ast::Expr::With(with) => Term::Expr(with.body()?),
                ast::Expr::Assert(assert) => Term::Expr(assert.body()?),
                ast::Expr::Ident(ident) => self.bound(&node(&ident).text().to_string())?,
                other => return Some(Term::Expr(other)),
            };
        }
    }

    /// What a name is bound to by the innermost `let` that has it.
    fn bound(&self, name: &str) -> Option<Term> {
        let mut scopes = self.scopes.iter().rev();
        scopes.find_map(|scope| scope.get(name))?.term()
    }
}

impl Value {
    fn term(&self) -> Option<Term> {
        match self {
            Self::Set(attrs) => Some(Term::Set(attrs.clone())),
            Self::Expr(expr) => Some(Term::Expr(expr.clone())),
            Self::Inherited(_) => None,
        }
    }
}

/// The two sides of `//`.
fn updated(expr: &ast::Expr) -> Option<(Term, Term)> {
    match expr {
        ast::Expr::BinOp(update) if update.operator() == Some(BinOpKind::Update) => {
            Some((Term::Expr(update.lhs()?), Term::Expr(update.rhs()?)))
        }
        _ => None,
    }
}
