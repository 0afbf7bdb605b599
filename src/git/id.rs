//! Object ids, one type per kind of object, and the hash that makes them.
//!
//! Hashing detects SHA-1 collision attacks (`sha1dc`, as git does), because everything hashed here comes from
//! outside. Local files are hashed by `scan` with a faster plain SHA-1: there, nobody gains by a collision.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text;

/// The kind of a git object, as in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// File content, or the target text of a symlink.
    Blob,
    /// A directory.
    Tree,
    /// A commit.
    Commit,
    /// An annotated tag.
    Tag,
}

impl ObjectKind {
    /// The word git writes into the object header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Commit => "commit",
            Self::Tag => "tag",
        }
    }

    pub(crate) fn from_gix(kind: gix_object::Kind) -> Self {
        match kind {
            gix_object::Kind::Blob => Self::Blob,
            gix_object::Kind::Tree => Self::Tree,
            gix_object::Kind::Commit => Self::Commit,
            gix_object::Kind::Tag => Self::Tag,
        }
    }

    pub(crate) fn to_gix(self) -> gix_object::Kind {
        match self {
            Self::Blob => gix_object::Kind::Blob,
            Self::Tree => gix_object::Kind::Tree,
            Self::Commit => gix_object::Kind::Commit,
            Self::Tag => gix_object::Kind::Tag,
        }
    }
}

/// A git object id: the SHA-1 of header and content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid([u8; 20]);

/// The text is not a full, lower-case SHA-1 id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not an object id of 40 lower-case hexadecimal digits", text::name(.0))]
pub struct NotAnId(pub String);

/// Content whose SHA-1 shows the marks of a collision attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the content is part of a SHA-1 collision attack")]
pub struct Collision;

impl Oid {
    /// The id of all zeros, which git uses for "none" and never gives to an object.
    pub const NULL: Self = Self([0; 20]);

    /// Wraps 20 raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Computes the id of an object from its content.
    pub fn of(kind: ObjectKind, content: &[u8]) -> Result<Self, Collision> {
        gix_object::compute_hash(gix_hash::Kind::Sha1, kind.to_gix(), content)
            .map_err(|_| Collision)
            .and_then(|id| Self::from_gix(&id).ok_or(Collision))
    }

    pub(crate) fn from_gix(id: &gix_hash::oid) -> Option<Self> {
        id.as_bytes().try_into().ok().map(Self)
    }

    pub(crate) fn to_gix(self) -> gix_hash::ObjectId {
        gix_hash::ObjectId::Sha1(self.0)
    }
}

impl FromStr for Oid {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let mut bytes = [0; 20];
        let is_id = text.len() == 40
            && data_encoding::HEXLOWER
                .decode_mut(text.as_bytes(), &mut bytes)
                .is_ok();
        is_id
            .then_some(Self(bytes))
            .ok_or_else(|| NotAnId(text.to_owned()))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Oid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 40];
        data_encoding::HEXLOWER.encode_mut(&self.0, &mut text);
        serializer.serialize_str(str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Oid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Oid;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object id")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Oid, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Oid);

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

typed_id!(
    /// The id of a commit.
    CommitId
);
typed_id!(
    /// The id of a tree (a directory).
    TreeId
);
typed_id!(
    /// The id of a blob (file content, or the target of a symlink).
    BlobId
);

impl CommitId {
    /// The first ten digits, for text that people read.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(10);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        // git hash-object -t blob /dev/null; git hash-object -t tree /dev/null
        let empty_blob = Oid::of(ObjectKind::Blob, b"").unwrap();
        let empty_tree = Oid::of(ObjectKind::Tree, b"").unwrap();
        assert_eq!(
            empty_blob.to_string(),
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        );
        assert_eq!(
            empty_tree.to_string(),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
    }

    #[test]
    fn only_forty_lower_case_digits_are_an_id() {
        let good = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
        assert_eq!(good.parse::<Oid>().unwrap().to_string(), good);
        for bad in [
            "",
            &good[1..],
            &format!("{good}0"),
            &good.to_uppercase(),
            &"a".repeat(64),
            "-x",
        ] {
            assert!(bad.parse::<Oid>().is_err(), "{bad}");
        }
    }
}
