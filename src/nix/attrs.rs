//! The attributes of a set or of a `let`, as far as they are literal.
//!
//! `a.b = 1; a = { c = 2; };` is read as Nix reads it: one attribute `a` with two of its own.

use std::collections::BTreeMap;
use std::ops::Range;

use rnix::SyntaxNode;
use rnix::ast::{self, HasEntry, InterpolPart};

use super::syntax::{Position, SyntaxError, SyntaxFault, bytes, cast, node};

/// Attributes by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Attrs {
    named: BTreeMap<String, Attr>,
    /// The expressions of names that are computed: `${…}` and strings with interpolation.
    pub(super) computed: Vec<ast::Attr>,
    /// The nodes that were read into this: the set itself and the sets merged into it.
    nodes: Vec<SyntaxNode>,
}

#[derive(Debug, Clone)]
struct Attr {
    span: Range<usize>,
    value: Value,
}

/// What an attribute is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A set written out.
    Set(Attrs),
    /// Any other expression.
    Expr(ast::Expr),
    /// `inherit`ed; with the expression it is taken from, if any.
    Inherited(Option<ast::Expr>),
}

impl Attrs {
    /// Reads a node; `None` if it is neither a set nor a `let`.
    pub(super) fn read(source: &str, node: &SyntaxNode) -> Result<Option<Self>, SyntaxError> {
        let mut attrs = Self::default();
        if let Some(set) = cast::<ast::AttrSet>(node.clone()) {
            attrs.add_entries(source, &set, &mut Vec::new())?;
        } else if let Some(binding) = cast::<ast::LetIn>(node.clone()) {
            attrs.add_entries(source, &binding, &mut Vec::new())?;
        } else if let Some(binding) = cast::<ast::LegacyLet>(node.clone()) {
            attrs.add_entries(source, &binding, &mut Vec::new())?;
        } else {
            return Ok(None);
        }
        Ok(Some(attrs))
    }

    /// The attribute of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.named.get(name).map(|attr| &attr.value)
    }

    /// The named attributes in the order of the source.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        let mut all: Vec<_> = self.named.iter().collect();
        all.sort_by_key(|(_, attr)| attr.span.start);
        all.into_iter()
            .map(|(name, attr)| (name.as_str(), &attr.value))
    }

    /// The nodes that were read, including nested sets.
    pub(super) fn into_nodes(self) -> Vec<SyntaxNode> {
        let mut nodes = self.nodes;
        for attr in self.named.into_values() {
            if let Value::Set(set) = attr.value {
                nodes.extend(set.into_nodes());
            }
        }
        nodes
    }

    fn add_entries<S: HasEntry>(
        &mut self,
        source: &str,
        set: &S,
        path: &mut Vec<String>,
    ) -> Result<(), SyntaxError> {
        self.nodes.push(node(set).clone());
        for entry in set.entries() {
            match entry {
                ast::Entry::Inherit(inherit) => {
                    let from = inherit.from().and_then(|from| from.expr());
                    for attr in inherit.attrs() {
                        self.add_leaf(source, &attr, Value::Inherited(from.clone()), path)?;
                    }
                }
                ast::Entry::AttrpathValue(entry) => {
                    let attrs: Vec<_> = entry
                        .attrpath()
                        .into_iter()
                        .flat_map(|p| p.attrs())
                        .collect();
                    if let Some(value) = entry.value() {
                        self.add(source, &attrs, value, path)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        source: &str,
        attrpath: &[ast::Attr],
        value: ast::Expr,
        path: &mut Vec<String>,
    ) -> Result<(), SyntaxError> {
        let Some((attr, rest)) = attrpath.split_first() else {
            return Ok(());
        };
        let set = match (&rest, unwrapped(value.clone())) {
            ([], ast::Expr::AttrSet(set)) => Some(set),
            ([], _) => return self.add_leaf(source, attr, Value::Expr(value), path),
            _ => None,
        };
        let Some(name) = literal_name(attr) else {
            self.computed.push(attr.clone());
            return Ok(());
        };
        let span = bytes(node(attr).text_range());
        path.push(name.clone());
        let inner = match self.named.entry(name).or_insert_with(|| Attr {
            span: span.clone(),
            value: Value::Set(Self::default()),
        }) {
            Attr {
                value: Value::Set(inner),
                ..
            } => inner,
            first => return Err(duplicate(source, span, path, first)),
        };
        match set {
            Some(set) => inner.add_entries(source, &set, path)?,
            None => inner.add(source, rest, value, path)?,
        }
        path.pop();
        Ok(())
    }

    fn add_leaf(
        &mut self,
        source: &str,
        attr: &ast::Attr,
        value: Value,
        path: &mut Vec<String>,
    ) -> Result<(), SyntaxError> {
        let Some(name) = literal_name(attr) else {
            self.computed.push(attr.clone());
            return Ok(());
        };
        let span = bytes(node(attr).text_range());
        if let Some(first) = self.named.get(&name) {
            path.push(name);
            return Err(duplicate(source, span, path, first));
        }
        self.named.insert(name, Attr { span, value });
        Ok(())
    }
}

fn duplicate(source: &str, span: Range<usize>, path: &[String], first: &Attr) -> SyntaxError {
    let name = path.join(".");
    let first = Position::at(source, first.span.start);
    SyntaxError::at(
        source,
        span,
        SyntaxFault::DuplicateAttribute { name, first },
    )
}

/// An expression without the parentheses around it.
pub(super) fn unwrapped(mut expr: ast::Expr) -> ast::Expr {
    while let ast::Expr::Paren(paren) = &expr {
        match paren.expr() {
            Some(inner) => expr = inner,
            None => break,
        }
    }
    expr
}

/// The name of an attribute, if it is literal.
pub(super) fn literal_name(attr: &ast::Attr) -> Option<String> {
    match attr {
        ast::Attr::Ident(ident) => Some(node(ident).text().to_string()),
        ast::Attr::Str(text) => literal(text),
        ast::Attr::Dynamic(_) => None,
    }
}

/// The value of a string without interpolation.
pub(super) fn literal(text: &ast::Str) -> Option<String> {
    text.normalized_parts()
        .into_iter()
        .map(|part| match part {
            InterpolPart::Literal(text) => Some(text),
            InterpolPart::Interpolation(_) => None,
        })
        .collect()
}
