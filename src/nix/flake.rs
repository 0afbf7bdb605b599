//! `flake.nix` as it is written: its inputs, its hosts and the paths it names.
//!
//! This is enough to find how a flake reaches the target without evaluating anything, which would need the network for
//! its inputs and would run code of the very tree that is to be checked first.
//!
//! Limits: inputs are literal in every flake (Nix insists), hosts and paths often are but need not be.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use rnix::ast;

use super::attrs::{Attrs, Value, literal, unwrapped};
use super::names::{Names, literal_path, resolved};
use super::syntax::{self, SyntaxError, node};

mod hosts;

/// What `flake.nix` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flake {
    /// Its inputs, in the order they stand in the file.
    pub inputs: Vec<Input>,
    /// Whether it has `outputs`.
    pub outputs: bool,
    /// The names in `nixosConfigurations`; `None` where they are not known without evaluating.
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
        Ok(Self {
            inputs: inputs(attrs.get("inputs")),
            outputs: outputs.is_some(),
            hosts: match outputs {
                Some(Value::Expr(ast::Expr::Lambda(lambda))) => {
                    lambda.body().and_then(|body| hosts::named(source, body))
                }
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
    /// The local directory it refers to, for a flake that lies in `directory`; `None` where it is remote.
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

#[cfg(test)]
mod tests;
