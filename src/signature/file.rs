//! Reading the file of keys, if nobody but root and this user can choose what is in it.

use std::path::Path;

use secrecy::zeroize::Zeroizing;

use super::Error;
use crate::vetted::{self, FileRequirements, Owner, TrustedFile, Untrusted};

/// Symlinks are followed: that is how NixOS lays out `/etc`.
const TERMS: FileRequirements = FileRequirements {
    symlink: true,
    closed: 0o022,
    owner: Owner::Known { also: None },
    above: true,
    // The keyring of a large distribution's developers has 10 MiB.
    limit: 16 << 20,
};

/// The content.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let content = vetted::read(path, &TERMS).map_err(|refusal| Untrusted {
        file: TrustedFile::Signers,
        path: path.to_owned(),
        refusal,
    });
    Ok(content?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vetted::judgement;

    #[test]
    fn only_root_and_this_user_may_choose_the_keys() {
        for (mode, uid) in [(0o100_644, 0), (0o100_444, 0), (0o100_600, 1000)] {
            assert!(judgement(mode, uid, &TERMS).is_ok(), "{mode:o} {uid}");
        }
        for (mode, uid) in [(0o100_664, 0), (0o100_646, 0), (0o100_644, 1001)] {
            assert!(judgement(mode, uid, &TERMS).is_err(), "{mode:o} {uid}");
        }
    }
}
