//! netrc files: `machine HOST login NAME password SECRET`, words in any order and on any lines.

use secrecy::zeroize::Zeroizing;

/// A machine's entry.
pub(super) struct NetrcEntry {
    pub(super) login: Option<String>,
    pub(super) password: Zeroizing<String>,
}

/// The entry of exactly this machine. `default` is none: it would send the password to any host.
pub(super) fn find(content: &[u8], machine: &str) -> Option<NetrcEntry> {
    let text = std::str::from_utf8(content).ok()?;
    // A macro runs to the next empty line and may hold any word.
    let mut in_macro = false;
    let lines = text.lines().filter(|line| {
        in_macro = (in_macro || line.trim_start().starts_with("macdef")) && !line.trim().is_empty();
        !in_macro && !line.trim_start().starts_with('#')
    });
    let mut words = lines.flat_map(str::split_ascii_whitespace);
    let mut ours = false;
    let (mut login, mut password) = (None, None);
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                if ours {
                    break;
                }
                ours = word == "machine" && words.next()?.eq_ignore_ascii_case(machine);
            }
            "login" if ours => login = words.next().map(str::to_owned),
            "password" if ours => password = words.next().map(str::to_owned),
            "login" | "password" | "account" => {
                words.next();
            }
            _ => {}
        }
    }
    password.map(|password| NetrcEntry {
        login,
        password: Zeroizing::new(password),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, machine: &str) -> Option<(Option<String>, String)> {
        find(text.as_bytes(), machine).map(|entry| (entry.login, entry.password.to_string()))
    }

    #[test]
    fn finds_the_machine_by_its_whole_name() {
        let text = "# machine github.com password commented\n\
            machine other.example login a password wrong\n\
            macdef init\nmachine github.com password macro\n\n\
            machine github.com\n  login me\n  password right\n\
            machine github.com login you password second\n\
            default login any password anyone\n";
        assert_eq!(
            of(text, "github.com"),
            Some((Some("me".into()), "right".into()))
        );
        assert_eq!(
            of(text, "other.example"),
            Some((Some("a".into()), "wrong".into()))
        );
        assert_eq!(of(text, "api.github.com"), None, "`default` is nobody's");
        assert_eq!(
            of("machine h password only", "h"),
            Some((None, "only".into()))
        );
        assert_eq!(of("machine h login password password", "h"), None);
        assert_eq!(of("machine", "h"), None);
        assert_eq!(of("", "h"), None);
    }
}
