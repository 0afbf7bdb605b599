//! `nix.conf`: which experimental features are on.

/// How deep `include` is followed; it may be circular.
const DEPTH: u32 = 8;

/// The features a text turns on, upon those that are on already.
///
/// `include` gives the text of an included file by its name, as written.
pub fn experimental_features(
    text: &str,
    on: &mut Vec<String>,
    include: &dyn Fn(&str) -> Option<String>,
) {
    read(text, on, include, DEPTH);
}

fn read(text: &str, on: &mut Vec<String>, include: &dyn Fn(&str) -> Option<String>, depth: u32) {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("include" | "!include"), Some(name)) => {
                if let (Some(depth), Some(text)) = (depth.checked_sub(1), include(name)) {
                    read(&text, on, include, depth);
                }
            }
            // Nix wants spaces around the sign.
            (Some("experimental-features"), Some("=")) => {
                *on = words.map(str::to_owned).collect();
            }
            (Some("extra-experimental-features"), Some("=")) => {
                on.extend(words.map(str::to_owned));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(text: &str) -> Vec<String> {
        let mut on = vec!["before".to_owned()];
        experimental_features(text, &mut on, &|name| {
            (name == "more.conf")
                .then(|| "extra-experimental-features = more\ninclude more.conf\n".to_owned())
        });
        on
    }

    #[test]
    fn settings_replace_and_extra_settings_add() {
        assert_eq!(features("cores = 3\n"), ["before"]);
        assert_eq!(
            features("experimental-features = nix-command flakes # both\n"),
            ["nix-command", "flakes"]
        );
        assert_eq!(
            features("extra-experimental-features = flakes"),
            ["before", "flakes"]
        );
        assert_eq!(features("# experimental-features = flakes"), ["before"]);
        assert_eq!(features("experimental-features ="), [""; 0]);
        assert_eq!(features("!include other.conf"), ["before"]);
        assert_eq!(
            features("experimental-features = a\n!include more.conf\n").len(),
            9
        );
    }
}
