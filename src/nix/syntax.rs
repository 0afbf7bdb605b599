//! The syntax of a Nix file: the first fault that `nix-instantiate --parse` would stop at, with its place.
//!
//! The parser is `rnix`, which recovers from errors; only its first is reported, the others follow from it. Attributes
//! defined twice are found here too, for Nix refuses them while parsing.
//!
//! Limits: undefined variables and everything that needs evaluation are not seen. Where versions of Nix differ (how
//! deep attribute sets are merged), the more permissive reading is taken: a file that Nix accepts is never refused.

use std::fmt;
use std::ops::Range;

use rnix::ast::{self, AstNode};
use rnix::{ParseError, SyntaxKind, SyntaxNode, TextRange};

use super::attrs::Attrs;
use crate::text;

/// The largest file that is parsed. The largest generated Nix files that people commit (package sets) stay below it.
pub const SIZE_MAX: usize = 4 << 20;

/// How many tokens may nest in each other. The time `rnix` takes grows with the square of the nesting, so that
/// `a+a+a…` of a few hundred kilobytes would take minutes; nothing in nixpkgs comes near.
const NESTING_MAX: usize = 4096;

/// How many bytes the tokenizer may look ahead in all: at every name it looks for the end of a path (`a+a+a/b` is one),
/// so that its time, too, grows with the square of a chain.
const LOOKAHEAD_MAX: usize = 64 << 20;

/// Stack for parsing one file: `rnix` recurses up to a dozen times for one level of nesting.
const STACK: usize = 256 << 20;

/// A fault in a Nix file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {fault}")]
pub struct SyntaxError {
    /// What is wrong.
    pub fault: SyntaxFault,
    /// Where, in bytes of the source.
    pub span: Range<usize>,
    /// Where its first character stands.
    pub position: Position,
}

/// A place in a text, both numbers counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// The kinds of fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxFault {
    /// Something stands where it cannot.
    #[error("unexpected `{}`{}", text::name(.found), Expected(*.expected))]
    Unexpected {
        /// Its first word.
        found: String,
        /// What has to stand there, if it is one thing.
        expected: Option<&'static str>,
    },
    /// The file ends too early.
    #[error("unexpected end of file{}", Expected(*.expected))]
    UnexpectedEnd {
        /// What has to stand there, if it is one thing.
        expected: Option<&'static str>,
    },
    /// A function names an argument twice.
    #[error("the argument `{}` is named twice", text::name(.name))]
    DuplicateArgument {
        /// The argument.
        name: String,
    },
    /// An attribute or a variable is defined twice.
    #[error("`{}` is already defined at {first}", text::name(.name))]
    DuplicateAttribute {
        /// The path of the attribute.
        name: String,
        /// Where it was defined first.
        first: Position,
    },
    /// A set of arguments has a name on both sides.
    #[error("the arguments are bound to a name twice")]
    DoubleBind,
    /// Nested deeper, or chained longer, than the parser can follow in reasonable time.
    #[error("nested too deeply or chained too long to be read")]
    TooComplex,
    /// Larger than the parser reads.
    #[error("larger than {SIZE_MAX} bytes, too large to be read")]
    TooLarge,
    /// The parser gave up.
    #[error("the parser cannot read it")]
    Unreadable,
}

impl SyntaxFault {
    /// Whether the file was not read to its end, so that nothing is said about its syntax.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        match self {
            Self::TooComplex | Self::TooLarge | Self::Unreadable => true,
            Self::Unexpected { .. }
            | Self::UnexpectedEnd { .. }
            | Self::DuplicateArgument { .. }
            | Self::DuplicateAttribute { .. }
            | Self::DoubleBind => false,
        }
    }
}

struct Expected(Option<&'static str>);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |word| write!(f, ", expected {word}"))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Position {
    /// The place of a byte in a text.
    #[must_use]
    pub fn at(source: &str, offset: usize) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl SyntaxError {
    pub(super) fn at(source: &str, span: Range<usize>, fault: SyntaxFault) -> Self {
        Self {
            fault,
            position: Position::at(source, span.start),
            span,
        }
    }

    fn from_rnix(source: &str, error: &ParseError) -> Self {
        let end = source.trim_end().len();
        let (span, fault) = match error {
            ParseError::UnexpectedEOFWanted(wanted) => (
                end..end,
                SyntaxFault::UnexpectedEnd {
                    expected: only(wanted),
                },
            ),
            ParseError::UnexpectedEOF => (end..end, SyntaxFault::UnexpectedEnd { expected: None }),
            ParseError::Unexpected(range) | ParseError::UnexpectedExtra(range) => {
                unexpected(source, *range, &[])
            }
            ParseError::UnexpectedWanted(_, range, wanted) => unexpected(source, *range, wanted),
            ParseError::UnexpectedDoubleBind(range) => (bytes(*range), SyntaxFault::DoubleBind),
            ParseError::DuplicatedArgs(range, name) => {
                let name = name.clone();
                (bytes(*range), SyntaxFault::DuplicateArgument { name })
            }
            ParseError::RecursionLimitExceeded => (0..0, SyntaxFault::TooComplex),
            // The enum may grow; what it says then is not known here.
            _ => (0..0, SyntaxFault::Unreadable),
        };
        Self::at(source, span, fault)
    }
}

/// The first word of what stands in the way: the parser's range covers everything it skipped.
fn unexpected(
    source: &str,
    range: TextRange,
    wanted: &[SyntaxKind],
) -> (Range<usize>, SyntaxFault) {
    let range = bytes(range);
    let text = source.get(range.clone()).unwrap_or_default();
    let found = rnix::tokenize(text)
        .find(|(kind, _)| !kind.is_trivia())
        .map_or("", |(_, word)| word);
    let skipped = text.find(found).unwrap_or_default();
    let start = range.start + skipped;
    let span = start..start + found.len();
    let found = found.chars().take(40).collect();
    let expected = only(wanted);
    (span, SyntaxFault::Unexpected { found, expected })
}

/// What the parser looks for, as people write it. Where it looks for several things, its list is not complete.
fn only(wanted: &[SyntaxKind]) -> Option<&'static str> {
    let &[kind] = wanted else {
        return None;
    };
    Some(match kind {
        SyntaxKind::TOKEN_SEMICOLON => "`;`",
        SyntaxKind::TOKEN_ASSIGN => "`=`",
        SyntaxKind::TOKEN_COLON => "`:`",
        SyntaxKind::TOKEN_AT => "`@`",
        SyntaxKind::TOKEN_ELLIPSIS => "`...`",
        SyntaxKind::TOKEN_L_BRACE => "`{`",
        SyntaxKind::TOKEN_R_BRACE | SyntaxKind::TOKEN_INTERPOL_END => "`}`",
        SyntaxKind::TOKEN_R_PAREN => "`)`",
        SyntaxKind::TOKEN_R_BRACK => "`]`",
        SyntaxKind::TOKEN_THEN => "`then`",
        SyntaxKind::TOKEN_ELSE => "`else`",
        SyntaxKind::TOKEN_IN => "`in`",
        SyntaxKind::TOKEN_IDENT => "a name",
        SyntaxKind::TOKEN_STRING_END => "the end of the string",
        _ => return None,
    })
}

pub(super) fn bytes(range: TextRange) -> Range<usize> {
    range.into()
}

/// Reads a file and finds its first fault.
pub fn check(source: &str) -> Result<(), SyntaxError> {
    with_tree(source, |_| Ok(()))
}

/// Parses a file and hands its tree to `read`, on a thread with room for any tree.
///
/// The tree must not leave the closure: it is dropped where the stack is deep enough.
pub(super) fn with_tree<T: Send>(
    source: &str,
    read: impl FnOnce(&rnix::Root) -> Result<T, SyntaxError> + Send,
) -> Result<T, SyntaxError> {
    let unreadable = |fault| SyntaxError::at(source, 0..0, fault);
    if source.len() > SIZE_MAX {
        return Err(unreadable(SyntaxFault::TooLarge));
    }
    if let Some(offset) = too_complex(source) {
        return Err(SyntaxError::at(
            source,
            offset..offset,
            SyntaxFault::TooComplex,
        ));
    }
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("nix-syntax".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                let parsed = rnix::Root::parse(source);
                if let Some(error) = parsed.errors().first() {
                    return Err(SyntaxError::from_rnix(source, error));
                }
                let root = parsed.tree();
                no_duplicates(source, node(&root))?;
                read(&root)
            })
            .ok()
            // A panic of the parser ends its thread, not us.
            .and_then(|thread| thread.join().ok())
            .unwrap_or_else(|| Err(unreadable(SyntaxFault::Unreadable)))
    })
}

/// Where the source goes beyond [`NESTING_MAX`] or [`LOOKAHEAD_MAX`], by upper bounds that need no tree: what stands
/// between two separators may nest token by token, and so may what is in brackets with what is around them.
fn too_complex(source: &str) -> Option<usize> {
    // For each open bracket: whether its items lie beside each other (lists, strings), and its tokens since a separator.
    let mut open = vec![(false, 0_usize)];
    let mut depth = 0;
    let mut offset = 0;
    let mut name_end = 0;
    let mut lookahead = 0;
    for (kind, text) in rnix::tokenize(source) {
        let (flat, run) = open.last_mut()?;
        match kind {
            kind if kind.is_trivia() => {}
            SyntaxKind::TOKEN_SEMICOLON | SyntaxKind::TOKEN_COMMA => {
                depth -= *run;
                *run = 0;
            }
            SyntaxKind::TOKEN_R_BRACE
            | SyntaxKind::TOKEN_R_BRACK
            | SyntaxKind::TOKEN_R_PAREN
            | SyntaxKind::TOKEN_INTERPOL_END
            | SyntaxKind::TOKEN_STRING_END => {
                depth -= *run;
                open.pop();
                if open.is_empty() {
                    open.push((false, 0));
                }
            }
            // Brackets always nest, wherever they stand.
            SyntaxKind::TOKEN_L_BRACE
            | SyntaxKind::TOKEN_L_PAREN
            | SyntaxKind::TOKEN_INTERPOL_START => {
                depth += 1;
                open.push((false, 1));
            }
            SyntaxKind::TOKEN_L_BRACK | SyntaxKind::TOKEN_STRING_START => {
                depth += 1;
                open.push((true, 1));
            }
            // `a.b.c` is one path, however long.
            SyntaxKind::TOKEN_DOT => {}
            _ if *flat => {}
            _ => {
                *run += 1;
                depth += 1;
            }
        }
        if offset >= name_end {
            let is_other = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"+-._".contains(byte);
            let length = source.as_bytes()[offset..].iter().position(is_other);
            name_end = length.map_or(source.len(), |length| offset + length);
        }
        lookahead += name_end - offset;
        if depth > NESTING_MAX || lookahead > LOOKAHEAD_MAX {
            return Some(offset);
        }
        offset += text.len();
    }
    None
}

/// The untyped node of a typed one; the trait that gives it is not exported by `rnix`.
pub(super) fn node<N: AstNode>(typed: &N) -> &SyntaxNode {
    typed.syntax()
}

/// A typed node, where it is of that type.
pub(super) fn cast<N: AstNode>(node: SyntaxNode) -> Option<N> {
    N::cast(node)
}

fn no_duplicates(source: &str, root: &SyntaxNode) -> Result<(), SyntaxError> {
    let mut seen = std::collections::HashSet::new();
    for node in root.descendants() {
        if seen.contains(&node) {
            continue;
        }
        if let Some(attrs) = Attrs::read(source, &node)? {
            seen.extend(attrs.into_nodes());
        } else if let Some(pattern) = cast::<ast::Pattern>(node) {
            no_duplicate_arguments(source, &pattern)?;
        }
    }
    Ok(())
}

fn no_duplicate_arguments(source: &str, pattern: &ast::Pattern) -> Result<(), SyntaxError> {
    let mut names = std::collections::HashSet::new();
    let arguments = pattern.pat_entries().filter_map(|entry| entry.ident());
    let whole = pattern.pat_bind().and_then(|bind| bind.ident());
    for ident in arguments.chain(whole) {
        let name = node(&ident).text().to_string();
        if names.contains(&name) {
            let span = bytes(node(&ident).text_range());
            return Err(SyntaxError::at(
                source,
                span,
                SyntaxFault::DuplicateArgument { name },
            ));
        }
        names.insert(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
