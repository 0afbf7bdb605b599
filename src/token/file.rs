//! Reading a file that holds a secret.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::{Error, TokenOrigin};

/// Real tokens stay below 300 bytes; a JWT of an app may have 2000.
const TOKEN_MAX: u64 = 4096;
/// Settings of other programs that a token is looked for in.
const SETTINGS_MAX: u64 = 1 << 20;

/// What a file must be like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trust {
    /// No symlink, owned by root, by us or by this user too, closed to all others.
    Private { also: Option<u32> },
    /// As systemd lays it down: for another service user the access list shows as the group's right to read.
    Credential,
    /// Another program's settings, whose rights are not ours to judge.
    Anyone,
}

/// The content; `None` where there is no such file.
pub(super) fn read(path: &Path, trust: Trust) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let io = |errno: Errno| Error::Io {
        path: path.to_owned(),
        source: errno.into(),
    };
    let follow = match trust {
        Trust::Anyone => OFlags::empty(),
        Trust::Private { .. } | Trust::Credential => OFlags::NOFOLLOW,
    };
    // Not blocking: opening a pipe would wait for its writer for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | follow;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        // Another program's settings that we may not see hold no token for us.
        Err(Errno::ACCESS) if matches!(trust, Trust::Anyone) => return Ok(None),
        Err(Errno::LOOP) => {
            return Err(Error::NotAFile {
                path: path.to_owned(),
                kind: "a symlink",
            });
        }
        // A socket cannot be opened at all.
        Err(Errno::NXIO) => {
            return Err(Error::NotAFile {
                path: path.to_owned(),
                kind: "a socket or device",
            });
        }
        Err(errno) => return Err(io(errno)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(io)?;
    check(path, &stat, trust, rustix::process::geteuid().as_raw())?;
    let limit = match trust {
        Trust::Private { .. } | Trust::Credential => TOKEN_MAX,
        Trust::Anyone => SETTINGS_MAX,
    };
    let mut content = Zeroizing::new(Vec::new());
    let read = File::from(fd).take(limit + 1).read_to_end(&mut content);
    read.map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    if content.len() as u64 > limit {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(Some(content))
}

fn check(path: &Path, stat: &Stat, trust: Trust, user: u32) -> Result<(), Error> {
    let path = path.to_owned();
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a pipe"),
        _ => Some("a socket or device"),
    };
    if let Some(kind) = kind {
        return Err(Error::NotAFile { path, kind });
    }
    let (closed, also) = match trust {
        Trust::Private { also } => (0o077, also),
        Trust::Credential => (0o037, None),
        Trust::Anyone => return Ok(()),
    };
    let mode = stat.st_mode & 0o7777;
    if mode & closed != 0 {
        return Err(Error::Mode { path, mode });
    }
    let uid = stat.st_uid;
    if uid != 0 && uid != user && Some(uid) != also {
        return Err(Error::Owner { path, uid });
    }
    Ok(())
}

/// The token in some content: one word of visible ASCII, so that it cannot break out of a header.
pub(super) fn token(content: &[u8], place: &TokenOrigin) -> Result<SecretString, Error> {
    let refuse = |problem| Error::Content {
        place: place.to_string(),
        problem,
    };
    let content = content.trim_ascii();
    if content.is_empty() {
        return Err(refuse("is empty"));
    }
    if content.contains(&b'\n') || content.contains(&b'\r') {
        return Err(refuse("has more than one line"));
    }
    if content.len() as u64 > TOKEN_MAX {
        return Err(refuse("is too long"));
    }
    if !content.iter().all(u8::is_ascii_graphic) {
        return Err(refuse(
            "has a space, a control character or something else that no token has",
        ));
    }
    let text = std::str::from_utf8(content).map_err(|_| refuse("is not text"))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn judge(mode: u32, uid: u32, trust: Trust) -> Result<(), Error> {
        let mut stat = rustix::fs::stat("/").unwrap();
        stat.st_mode = mode;
        stat.st_uid = uid;
        check(Path::new("t"), &stat, trust, 1000)
    }

    #[test]
    fn only_its_owner_may_have_a_token_file() {
        const PRIVATE: Trust = Trust::Private { also: None };
        for (mode, uid) in [(0o100_600, 0), (0o100_400, 1000), (0o100_700, 1000)] {
            assert!(judge(mode, uid, PRIVATE).is_ok());
        }
        for mode in [
            0o100_644, 0o100_640, 0o100_604, 0o100_660, 0o100_602, 0o100_601,
        ] {
            assert!(
                matches!(judge(mode, 1000, PRIVATE), Err(Error::Mode { .. })),
                "{mode:o}"
            );
        }
        assert!(matches!(
            judge(0o100_600, 1001, PRIVATE),
            Err(Error::Owner { uid: 1001, .. })
        ));
        assert!(judge(0o100_600, 1001, Trust::Private { also: Some(1001) }).is_ok());
        for mode in [0o040_700, 0o010_600, 0o140_600, 0o020_600] {
            assert!(
                matches!(judge(mode, 0, PRIVATE), Err(Error::NotAFile { .. })),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_credential_may_show_its_access_list_as_the_groups_right() {
        assert!(judge(0o100_440, 0, Trust::Credential).is_ok());
        assert!(judge(0o100_444, 0, Trust::Credential).is_err());
        assert!(judge(0o100_460, 0, Trust::Credential).is_err());
    }

    #[test]
    fn a_token_is_one_visible_word() {
        let place = TokenOrigin::Variable("GH_TOKEN");
        for content in ["ghp_x", " ghp_x\n", "ghp_x\r\n", "\tghp_x  "] {
            assert_eq!(
                token(content.as_bytes(), &place).unwrap().expose_secret(),
                "ghp_x"
            );
        }
        for content in [
            &b""[..],
            b" \r\n",
            b"canary\nX-Evil: 1",
            b"canary\rx",
            b"canary two",
            b"canary\0",
            b"canary\x7f",
            b"canary\xff\xfe",
            "canary\u{202e}".as_bytes(),
            &[b'a'; 5000],
        ] {
            let error = token(content, &place).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("canary"),
                "{error:?}"
            );
        }
    }
}
