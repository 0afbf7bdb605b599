//! The text of `flake.nix`: its inputs, its hosts, the paths it names, and the [`Layout`] that follows from them.
//!
//! This shows how a flake reaches the target without an evaluation, which would need the network for the inputs and would
//! run code of the tree that is to be checked first.
//!
//! Limits: inputs are literal in every flake (Nix insists), hosts and paths often are but need not be.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use rnix::ast::{self, BinOpKind};

use super::attrs::{Attrs, Value, literal, unwrapped};
use super::names::{Names, literal_path, resolved};
use super::syntax::{self, SyntaxError, node};
use serde::{Serialize, Serializer};

/// The content of `flake.nix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flake {
    /// Its inputs, in the order of the file.
    pub inputs: Vec<Input>,
    /// Whether it has `outputs`.
    pub outputs: bool,
    /// The names in `nixosConfigurations`; `None` if only an evaluation can find them.
    pub hosts: Option<Vec<String>>,
    /// The paths it names, as written; see [`Names::paths`].
    pub paths: Vec<PathBuf>,
}

/// An input of a flake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name, as in `--override-input`.
    pub name: String,
    /// Its url; `None` if it follows another input or is from the registry.
    pub url: Option<String>,
}

impl Flake {
    /// Reads the text of `flake.nix`.
    pub fn parse(source: &str) -> Result<Self, SyntaxError> {
        syntax::with_tree(source, |root| Self::read(source, root))
    }

    fn read(source: &str, root: &rnix::Root) -> Result<Self, SyntaxError> {
        let attrs = root
            .expr()
            .map(|expr| Attrs::read(source, node(&unwrapped(expr))))
            .transpose()?
            .flatten()
            .unwrap_or_default();
        let outputs = attrs.get("outputs");
        Ok(Self {
            inputs: inputs(attrs.get("inputs")),
            outputs: outputs.is_some(),
            hosts: match outputs {
                Some(Value::Expr(ast::Expr::Lambda(lambda))) => {
                    lambda.body().and_then(|body| hosts(source, body))
                }
                None => Some(Vec::new()),
                Some(_) => None,
            },
            paths: Names::read(root).paths,
        })
    }

    /// The inputs that are the directory `target`, for a flake in `directory`.
    pub fn inputs_at<'a>(
        &'a self,
        directory: &'a Path,
        target: &'a Path,
    ) -> impl Iterator<Item = &'a Input> {
        self.inputs
            .iter()
            .filter(move |input| input.path(directory).is_some_and(|path| path == target))
    }

    /// Whether it names a path in `target` (or `target` itself), for a flake in `directory`.
    #[must_use]
    pub fn names_path_in(&self, directory: &Path, target: &Path) -> bool {
        self.paths
            .iter()
            .any(|path| resolved(directory, path).starts_with(target))
    }
}

impl Input {
    /// The local directory it refers to, for a flake in `directory`; `None` if it is remote.
    #[must_use]
    pub fn path(&self, directory: &Path) -> Option<PathBuf> {
        let url = self.url.as_deref()?;
        let rest = ["path:", "git+file:", "file:"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        let rest = match rest {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            // Without a scheme, Nix reads `/…` and `.…` as paths and anything else as a name in the registry.
            None if url.starts_with(['/', '.']) => url,
            None => return None,
        };
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        Some(resolved(
            directory,
            Path::new(
                percent_decode_str(&rest[..end])
                    .decode_utf8_lossy()
                    .as_ref(),
            ),
        ))
    }
}

fn inputs(inputs: Option<&Value>) -> Vec<Input> {
    let Some(Value::Set(inputs)) = inputs else {
        return Vec::new();
    };
    inputs
        .iter()
        .map(|(name, value)| Input {
            name: name.to_owned(),
            url: match value {
                Value::Set(input) => input_url(input),
                Value::Expr(_) | Value::Inherited(_) => None,
            },
        })
        .collect()
}

/// The url of an input, also if it is written as attributes with the `type` `"path"` or `"git"`.
fn input_url(input: &Attrs) -> Option<String> {
    let text = |name| match input.get(name) {
        Some(Value::Expr(ast::Expr::Str(text))) => literal(text),
        Some(Value::Expr(expr)) => literal_path(node(expr))?
            .into_os_string()
            .into_string()
            .ok(),
        _ => None,
    };
    match text("type").as_deref() {
        Some("path") => text("path").map(|path| format!("path:{path}")),
        Some("git") => text("url").map(|url| format!("git+{url}")),
        _ => text("url"),
    }
}

/// The attribute of the outputs that contains the hosts.
const HOSTS: &str = "nixosConfigurations";
/// How many names, operands and bindings are followed before a value counts as computed; `let a = b; b = a;` never ends.
const STEPS: u32 = 64;

/// The hosts of a flake whose `outputs` function has this body; `None` if only an evaluation can find them.
fn hosts(source: &str, body: ast::Expr) -> Option<Vec<String>> {
    let mut reader = ExpressionReader {
        source,
        scopes: Vec::new(),
        steps: STEPS,
    };
    reader.hosts(Term::Expr(body))
}

/// A resolved expression.
enum Term {
    Set(Attrs),
    Expr(ast::Expr),
}

/// The value of `nixosConfigurations`.
enum Hosts {
    Is(Term),
    Absent,
    Computed,
}

/// Resolves expressions as far as they are literal.
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

    /// The attribute names of the set `term`.
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

    /// The name `${…}`, if it is bound to a string.
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

/// How a host flake reaches the target. Each layout needs another treatment to build exactly the synced tree. It follows
/// from the text of `flake.nix` alone, because Nix requires literal inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// The target is or contains the flake.
    Own,
    /// The target is an input of the flake: Nix copies it, and builds the copy that its lock file names.
    Input {
        /// The input's name; two inputs may be the same directory.
        names: Vec<String>,
    },
    /// The flake names paths in the target. Nix reads absolute paths in place, which needs `--impure`; the lock file does
    /// not cover them.
    Literal,
}

impl Layout {
    /// How `flake` in `directory` reaches `target`; `None` if its text does not show it.
    #[must_use]
    pub fn of(flake: &Flake, directory: &Path, target: &Path) -> Option<Self> {
        if directory.starts_with(target) {
            return Some(Self::Own);
        }
        let names: Vec<String> = flake
            .inputs_at(directory, target)
            .map(|input| input.name.clone())
            .collect();
        if !names.is_empty() {
            return Some(Self::Input { names });
        }
        flake
            .names_path_in(directory, target)
            .then_some(Self::Literal)
    }

    /// Its name in messages and in JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Input { .. } => "input",
            Self::Literal => "literal",
        }
    }
}

impl Serialize for Layout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[cfg(test)]
mod tests;
