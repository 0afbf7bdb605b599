//! What a Nix file names: paths, and attributes it sets.
//!
//! Enough to find which files a configuration is made of, as far as the files name them.

use std::path::{Component, Path, PathBuf};

use rnix::SyntaxNode;
use rnix::ast::{self, AstToken, InterpolPart};

use super::attrs::{Attrs, Value};
use super::syntax::{self, SyntaxError, cast, node};

/// What a Nix file names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Paths, as written: absolute and relative path literals, and strings that are an absolute path. Of a path with
    /// interpolation, the part before it.
    pub paths: Vec<PathBuf>,
    /// Paths below something that is not known here: the text in `input + "/x"` and `"${input}/x"`, without its slash.
    pub below: Vec<PathBuf>,
}

impl Names {
    /// Reads the text of a Nix file, and finds its first fault on the way.
    pub fn parse(source: &str) -> Result<Self, SyntaxError> {
        syntax::with_tree(source, |root| Ok(Self::read(root)))
    }

    pub(super) fn read(root: &rnix::Root) -> Self {
        let mut names = Self::default();
        for node in node(root).descendants() {
            if let Some(path) = literal_path(&node) {
                names.paths.push(path);
            } else if let Some(path) = path_below(&node) {
                names.below.push(path);
            }
        }
        names
    }
}

/// Whether a Nix file sets the attribute at `path` in some set, as in `users.users.x = …`.
pub fn sets_attribute(source: &str, path: &[&str]) -> Result<bool, SyntaxError> {
    syntax::with_tree(source, |root| {
        let has = |node: SyntaxNode| {
            let attrs = Attrs::read(source, &node).ok()??;
            let (last, above) = path.split_last()?;
            let mut set = &attrs;
            for name in above {
                match set.get(name)? {
                    Value::Set(inner) => set = inner,
                    Value::Expr(_) | Value::Inherited(_) => return None,
                }
            }
            set.get(last).map(|_| ())
        };
        Ok(node(root).descendants().any(|node| has(node).is_some()))
    })
}

/// Puts a path below a directory and takes `.` and `..` away by name, as Nix does with path literals.
#[must_use]
pub fn resolved(directory: &Path, path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::ParentDir => {
                result.pop();
            }
            Component::CurDir => {}
            component => result.push(component),
        }
    }
    result
}

/// A node that is a path, or a string that is an absolute one.
pub(super) fn literal_path(node: &SyntaxNode) -> Option<PathBuf> {
    let begin = |parts: Vec<InterpolPart<ast::PathContent>>| match parts.into_iter().next() {
        Some(InterpolPart::Literal(text)) => Some(PathBuf::from(text.syntax().text())),
        _ => None,
    };
    if let Some(path) = cast::<ast::PathAbs>(node.clone()) {
        return begin(path.parts());
    }
    if let Some(path) = cast::<ast::PathRel>(node.clone()) {
        return begin(path.parts());
    }
    if is_added(node) {
        return None;
    }
    let text = cast::<ast::Str>(node.clone())?;
    match text.normalized_parts().into_iter().next()? {
        InterpolPart::Literal(text) if text.starts_with('/') && !text.contains('\n') => {
            Some(PathBuf::from(text))
        }
        _ => None,
    }
}

fn path_below(node: &SyntaxNode) -> Option<PathBuf> {
    let mut parts = cast::<ast::Str>(node.clone())?
        .normalized_parts()
        .into_iter();
    let mut part = parts.next()?;
    if !is_added(node) {
        let InterpolPart::Interpolation(_) = part else {
            return None;
        };
        part = parts.next()?;
    }
    match part {
        InterpolPart::Literal(text) if !text.contains('\n') => {
            text.strip_prefix('/').map(PathBuf::from)
        }
        _ => None,
    }
}

/// Whether a node is the right side of `+`.
fn is_added(node: &SyntaxNode) -> bool {
    let sum = node.parent().and_then(cast::<ast::BinOp>);
    sum.is_some_and(|sum| sum.lhs().is_some_and(|left| syntax::node(&left) != node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> Vec<PathBuf> {
        texts.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn names_paths_and_what_is_below_something() {
        let names = Names::parse(
            r#"{ input, ... }: {
              imports = [ ./a.nix ../b /etc/c.nix ./d/${x}.nix "/etc/e.nix" (input + "/f.nix") "${input}/g.nix"
                (input + /h) ("${input}" + "/i") <nixpkgs/j> ~/k "l/m" "${input}" ];
              text = ''
                /no/path
              '';
            }"#,
        )
        .unwrap();
        assert_eq!(
            names.paths,
            paths(&["./a.nix", "../b", "/etc/c.nix", "./d/", "/etc/e.nix", "/h"])
        );
        assert_eq!(names.below, paths(&["f.nix", "g.nix", "i"]));
    }

    #[test]
    fn an_attribute_is_found_however_it_is_written() {
        for source in [
            "{ users.users.me = { }; }",
            "{ users = { users.me = { }; }; }",
            "{ lib, ... }: { config = lib.mkIf true { users = { users = { }; }; }; }",
        ] {
            assert_eq!(
                sets_attribute(source, &["users", "users"]),
                Ok(true),
                "{source}"
            );
        }
        for source in [
            "{ }",
            "{ users.groups.me = { }; }",
            "x: x.users.users",
            "# users.users\n1",
        ] {
            assert_eq!(
                sets_attribute(source, &["users", "users"]),
                Ok(false),
                "{source}"
            );
        }
    }
}
