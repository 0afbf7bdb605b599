//! `flake.nix` as it is written: its inputs, its hosts and the paths it names.
//!
//! This is enough to tell how a flake reaches the target without evaluating anything, which would need the network for
//! its inputs and would run code of the very tree that is to be checked first.
//!
//! Limits: inputs are literal in every flake (Nix insists), hosts and paths often are but need not be.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use rnix::ast::{self, BinOpKind};

use super::attrs::{Attrs, Value, literal, unwrapped};
use super::names::{Names, literal_path, resolved};
use super::syntax::{self, SyntaxError, node};

/// The attribute of the outputs that holds the hosts.
const HOSTS: &str = "nixosConfigurations";
/// How many names, operands and bindings are followed before a value counts as computed; `let a = b; b = a;` never ends.
const STEPS: u32 = 64;

/// What `flake.nix` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flake {
    /// Its inputs, in the order they stand in the file.
    pub inputs: Vec<Input>,
    /// Whether it has `outputs`.
    pub outputs: bool,
    /// The names in `nixosConfigurations`; `None` where they cannot be told without evaluating.
    pub hosts: Option<Vec<String>>,
    /// The paths it names, as written; see [`Names::paths`].
    pub paths: Vec<PathBuf>,
}

/// An input of a flake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The name it goes by, as `--override-input` takes it.
    pub name: String,
    /// Its url; `None` where it follows another input or comes from the registry.
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
        let mut reader = Reader {
            source,
            scopes: Vec::new(),
            steps: STEPS,
        };
        Ok(Self {
            inputs: inputs(attrs.get("inputs")),
            outputs: outputs.is_some(),
            hosts: match outputs {
                Some(Value::Expr(ast::Expr::Lambda(lambda))) => lambda
                    .body()
                    .and_then(|body| reader.hosts(Term::Expr(body))),
                None => Some(Vec::new()),
                Some(_) => None,
            },
            paths: Names::read(root).paths,
        })
    }

    /// The inputs that are the directory `target`, for a flake that lies in `directory`.
    pub fn inputs_at<'a>(
        &'a self,
        directory: &'a Path,
        target: &'a Path,
    ) -> impl Iterator<Item = &'a Input> {
        self.inputs
            .iter()
            .filter(move |input| input.path(directory).is_some_and(|path| path == target))
    }

    /// Whether it names a path in `target` (or `target` itself), for a flake that lies in `directory`.
    #[must_use]
    pub fn names_path_in(&self, directory: &Path, target: &Path) -> bool {
        self.paths
            .iter()
            .any(|path| resolved(directory, path).starts_with(target))
    }
}

impl Input {
    /// The local directory it stands for, for a flake that lies in `directory`; `None` where it is remote.
    #[must_use]
    pub fn path(&self, directory: &Path) -> Option<PathBuf> {
        let url = self.url.as_deref()?;
        let rest = ["path:", "git+file:", "file:"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        let rest = match rest {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            // Without a scheme Nix takes what begins like a path for one, anything else for a name in the registry.
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

/// The url of an input, also where it is written as attributes of which `type` is `"path"` or `"git"`.
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
struct Reader<'a> {
    source: &'a str,
    scopes: Vec<Attrs>,
    steps: u32,
}

impl Reader<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "/etc/hypervisor/src";
    const DIRECTORY: &str = "/etc/hypervisor";

    fn flake(source: &str) -> Flake {
        Flake::parse(source).expect(source)
    }

    fn hosts(outputs: &str) -> Option<Vec<String>> {
        flake(&format!("{{ outputs = {{ self, nixpkgs }}: {outputs}; }}")).hosts
    }

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// How the flake reaches the target: the names of inputs, and whether it names a path in it.
    fn reaches(source: &str) -> (Vec<String>, bool) {
        let flake = flake(source);
        let (directory, target) = (Path::new(DIRECTORY), Path::new(TARGET));
        let inputs = flake.inputs_at(directory, target);
        (
            inputs.map(|input| input.name.clone()).collect(),
            flake.names_path_in(directory, target),
        )
    }

    #[test]
    fn an_older_installation_has_the_target_as_an_input() {
        let source = r#"{
          description = "host";
          inputs = {
            nixpkgs.url = "github:NixOS/nixpkgs/nixos-24.05";
            hypervisor.url = "path:/etc/hypervisor/src"; # no second download
          };
          outputs = { self, nixpkgs, hypervisor }:
            let system = "x86_64-linux"; in {
              nixosConfigurations.box = nixpkgs.lib.nixosSystem {
                inherit system;
                modules = [ /etc/nixos/hardware-configuration.nix (hypervisor + "/profiles/configuration-minimal.nix") ];
              };
            };
        }"#;
        let flake = flake(source);
        assert_eq!(
            flake.inputs,
            [
                Input {
                    name: "nixpkgs".to_owned(),
                    url: Some("github:NixOS/nixpkgs/nixos-24.05".to_owned()),
                },
                Input {
                    name: "hypervisor".to_owned(),
                    url: Some("path:/etc/hypervisor/src".to_owned()),
                },
            ]
        );
        assert_eq!(flake.hosts.unwrap(), named(&["box"]));
        assert_eq!(
            flake.paths,
            [PathBuf::from("/etc/nixos/hardware-configuration.nix")]
        );
        assert_eq!(reaches(source), (vec!["hypervisor".to_owned()], false));
    }

    #[test]
    fn a_newer_installation_names_files_of_the_target() {
        let source = r#"{
          inputs = { nixpkgs.url = "github:NixOS/nixpkgs/nixos-24.05"; };
          outputs = { self, nixpkgs }: {
            nixosConfigurations.box = nixpkgs.lib.nixosSystem {
              modules = [ /etc/nixos/hardware-configuration.nix /etc/hypervisor/src/profiles/configuration-minimal.nix ];
            };
          };
        }"#;
        assert_eq!(flake(source).hosts.unwrap(), named(&["box"]));
        assert_eq!(reaches(source), (vec![], true));
    }

    #[test]
    fn paths_are_seen_however_they_are_written() {
        for path in [
            "/etc/hypervisor/src",
            "/etc/hypervisor/src/${name}.nix",
            "./src/configuration.nix",
            "../hypervisor/src/x.nix",
            "\"/etc/hypervisor/src/x.nix\"",
            "(\"/etc/hypervisor/src\" + \"/x.nix\")",
        ] {
            let source = format!("{{ outputs = _: {{ x = [ {path} ]; }}; }}");
            assert_eq!(reaches(&source), (vec![], true), "{path}");
        }
        for path in [
            "/etc/hypervisor/src-old/x.nix",
            "./srcs",
            "/etc/hypervisor/src/../other",
            "(self + \"/etc/hypervisor/src\")",
            "<nixpkgs/etc/hypervisor/src>",
        ] {
            let source = format!("{{ outputs = _: {{ x = [ {path} ]; }}; }}");
            assert_eq!(reaches(&source), (vec![], false), "{path}");
        }
    }

    #[test]
    fn inputs_are_seen_however_they_are_written() {
        for input in [
            "inputs.x.url = \"path:/etc/hypervisor/src\";",
            "inputs.x = { url = \"path:/etc/hypervisor/src\"; flake = false; };",
            "inputs = { x.url = \"path:///etc/hypervisor/src\"; x.inputs.nixpkgs.follows = \"nixpkgs\"; };",
            "inputs.x.url = \"/etc/hypervisor/src/\";",
            "inputs.x.url = \"./src\";",
            "inputs.x.url = ./src;",
            "inputs.x.url = \"path:./src?narHash=sha256-x\";",
            "inputs.x.url = \"path:/etc/hypervisor/%73rc\";",
            "inputs.x.url = \"git+file:///etc/hypervisor/src?ref=main\";",
            "inputs.x = { type = \"path\"; path = \"/etc/hypervisor/src\"; };",
            "inputs.x = { type = \"git\"; url = \"file:///etc/hypervisor/src\"; };",
        ] {
            let (inputs, _) = reaches(&format!("{{ {input} outputs = _: {{ }}; }}"));
            assert_eq!(inputs, ["x"], "{input}");
        }
        for input in [
            "",
            "inputs.x.follows = \"y\";",
            "inputs.x.url = \"github:o/hypervisor\";",
            "inputs.x.url = \"src\";",
            "inputs.x.url = \"path:/etc/hypervisor/src2\";",
            "inputs.x.url = \"https://example.org/etc/hypervisor/src\";",
        ] {
            let (inputs, _) = reaches(&format!("{{ {input} outputs = _: {{ }}; }}"));
            assert!(inputs.is_empty(), "{input}");
        }
    }

    #[test]
    fn hosts_are_told_where_they_are_written_out() {
        for (outputs, expected) in [
            (
                "{ nixosConfigurations = { a = 1; \"b.c\" = 2; }; }",
                &["a", "b.c"][..],
            ),
            (
                "{ nixosConfigurations.b = 1; nixosConfigurations.a = 1; }",
                &["b", "a"],
            ),
            (
                "let host = \"a\"; in { nixosConfigurations.${host} = 1; }",
                &["a"],
            ),
            (
                "let nixosConfigurations = x // { a = 1; }; x = { b = 1; }; in { inherit nixosConfigurations; }",
                &["b", "a"],
            ),
            (
                "eachSystem (s: { }) // { nixosConfigurations.a = 1; }",
                &["a"],
            ),
            (
                "({ nixosConfigurations.a = 1; } // { packages = 1; })",
                &["a"],
            ),
            (
                "with x; assert true; rec { nixosConfigurations = ({ a = 1; }); }",
                &["a"],
            ),
            ("{ packages = 1; }", &[]),
            ("{ nixosConfigurations = { }; }", &[]),
        ] {
            assert_eq!(hosts(outputs), Some(named(expected)), "{outputs}");
        }
        assert_eq!(flake("{ }").hosts.unwrap(), named(&[]));
        assert!(!flake("{ }").outputs);
    }

    #[test]
    fn hosts_that_are_computed_are_not_guessed() {
        for outputs in [
            "{ nixosConfigurations = lib.genAttrs [ \"a\" ] f; }",
            "{ nixosConfigurations.${self.name} = 1; }",
            "{ inherit (x) nixosConfigurations; }",
            "{ inherit nixosConfigurations; }",
            "flake-parts.lib.mkFlake { } { }",
            "{ nixosConfigurations.a = 1; } // x",
            "{ ${x} = 1; }",
            "let a = b; b = a; in a",
        ] {
            assert_eq!(hosts(outputs), None, "{outputs}");
        }
        assert_eq!(flake("{ outputs = import ./outputs.nix; }").hosts, None);
    }

    #[test]
    fn a_fault_has_its_place() {
        let error = Flake::parse("{ outputs = { self }: { a = 1 }; }").unwrap_err();
        assert_eq!(error.to_string(), "1:31: unexpected `}`, expected `;`");
        assert_eq!(error.span, 30..31);
    }
}
