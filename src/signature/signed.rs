//! A commit taken apart into what was signed and its signature, as git does.
//!
//! The signature is in the header `gpgsig`, whatever its kind; what was signed is the commit without it, and
//! without any other header whose name begins with `gpgsig` (`gpgsig-sha256`, of repositories that keep both kinds of
//! id): git signs before it adds the first of them.

/// What was signed, and its signature.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// The bytes that were signed.
    pub(super) payload: Vec<u8>,
    /// The armored signature.
    pub(super) signature: Vec<u8>,
    /// How many `gpgsig` headers there were.
    headers: usize,
}

/// The kinds of signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureFormat {
    Ssh,
    OpenPgp,
    Other,
}

impl SignatureFormat {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Ssh => "an SSH signature",
            Self::OpenPgp => "an OpenPGP signature",
            Self::Other => "a signature that is neither SSH nor OpenPGP",
        }
    }
}

/// Which header a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Signature,
    OtherSignature,
    Signed,
}

const BEGIN: &[u8] = b"-----BEGIN ";

impl Signed {
    /// Takes a commit apart; `None` where it has no signature.
    pub(super) fn parse(raw: &[u8]) -> Option<Self> {
        let mut signed = Self {
            payload: Vec::with_capacity(raw.len()),
            signature: Vec::new(),
            headers: 0,
        };
        let mut header = Header::Signed;
        let mut rest = raw;
        while !rest.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n');
            let (line, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            if line == b"\n" {
                signed.payload.extend_from_slice(rest);
                break;
            }
            rest = after;
            let mut value = line;
            if let Some(continued) = line.strip_prefix(b" ") {
                value = continued;
            } else if let Some(begun) = line.strip_prefix(b"gpgsig ") {
                header = Header::Signature;
                signed.headers += 1;
                value = begun;
            } else if line.starts_with(b"gpgsig") {
                header = Header::OtherSignature;
            } else {
                header = Header::Signed;
            }
            match header {
                Header::Signature => signed.signature.extend_from_slice(value),
                Header::OtherSignature => {}
                Header::Signed => signed.payload.extend_from_slice(line),
            }
        }
        (signed.headers > 0).then_some(signed)
    }

    /// Whether there is more than one signature, so far as that shows without reading it.
    pub(super) fn is_ambiguous(&self) -> bool {
        let begins = self
            .signature
            .windows(BEGIN.len())
            .filter(|window| *window == BEGIN);
        self.headers > 1 || begins.count() > 1
    }

    /// Its kind, by its first line.
    pub(super) fn format(&self) -> SignatureFormat {
        let line = self.signature.split(|&byte| byte == b'\n').next();
        match line.map(<[u8]>::trim_ascii_end) {
            Some(b"-----BEGIN SSH SIGNATURE-----") => SignatureFormat::Ssh,
            Some(b"-----BEGIN PGP SIGNATURE-----") => SignatureFormat::OpenPgp,
            _ => SignatureFormat::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> (String, String) {
        let signed = Signed::parse(raw.as_bytes()).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(signed.payload), text(signed.signature))
    }

    #[test]
    fn the_signature_is_taken_out_of_what_was_signed() {
        let (payload, signature) = parse(
            "tree 1\nauthor a\ngpgsig -----BEGIN SSH SIGNATURE-----\n AB\n \n -----END\nencoding x\n\n gpgsig no\ngpgsig no\n",
        );
        assert_eq!(
            payload,
            "tree 1\nauthor a\nencoding x\n\n gpgsig no\ngpgsig no\n"
        );
        assert_eq!(signature, "-----BEGIN SSH SIGNATURE-----\nAB\n\n-----END\n");
    }

    #[test]
    fn what_only_looks_like_a_signature_was_signed() {
        let merge =
            "tree 1\nmergetag object 2\n gpgsig x\n -----BEGIN PGP SIGNATURE-----\n\nbody\n";
        assert_eq!(Signed::parse(merge.as_bytes()), None);
        assert_eq!(Signed::parse(b"tree 1\n\ngpgsig x\n"), None);
        assert_eq!(Signed::parse(b"tree 1\n\n"), None);
        assert_eq!(Signed::parse(b""), None);
        let (payload, _) = parse(&merge.replace("\n\n", "\ngpgsig x\n\n"));
        assert_eq!(payload, merge);
    }

    #[test]
    fn the_signature_of_the_other_kind_of_id_was_not_signed() {
        let (payload, signature) =
            parse("tree 1\ngpgsig-sha256 a\n b\ngpgsig c\n d\ngpgsig-sha256 e\nx y\n\nbody\n");
        assert_eq!(payload, "tree 1\nx y\n\nbody\n");
        assert_eq!(signature, "c\nd\n");
        assert_eq!(Signed::parse(b"tree 1\ngpgsig-sha256 a\n\nbody"), None);
    }

    #[test]
    fn two_signatures_are_seen() {
        let one = "gpgsig -----BEGIN SSH SIGNATURE-----\n x\n -----END SSH SIGNATURE-----\n";
        let inside = one.replace(" x\n", " x\n -----BEGIN SSH SIGNATURE-----\n");
        for (headers, ambiguous) in [(one, false), (&one.repeat(2), true), (&inside, true)] {
            let signed = Signed::parse(format!("tree 1\n{headers}\nbody\n").as_bytes()).unwrap();
            assert_eq!(signed.is_ambiguous(), ambiguous, "{headers}");
            assert_eq!(signed.format(), SignatureFormat::Ssh);
        }
    }
}
