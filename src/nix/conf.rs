//! `nix.conf`: which experimental features are on.

/// How many files are included, all in all; they may include themselves, and more than once.
const INCLUDES_MAX: u32 = 64;

/// The features that are on: those of the text added to those that were on already.
///
/// `include` gives the text of an included file by its name, as written.
pub fn experimental_features(
    text: &str,
    on: &mut Vec<String>,
    include: &dyn Fn(&str) -> Option<String>,
) {
    read(text, on, include, &mut { INCLUDES_MAX });
}

fn read(
    text: &str,
    on: &mut Vec<String>,
    include: &dyn Fn(&str) -> Option<String>,
    left: &mut u32,
) {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("include" | "!include"), Some(name)) => {
                let Some(fewer) = left.checked_sub(1) else {
                    continue;
                };
                *left = fewer;
                if let Some(text) = include(name) {
                    read(&text, on, include, left);
                }
            }
            // Nix requires spaces around the sign.
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
            65
        );
        let twice = "extra-experimental-features = x\ninclude more.conf\n".repeat(2);
        let mut on = Vec::new();
        experimental_features(&twice, &mut on, &|_| Some(twice.clone()));
        assert_eq!(on.len(), 2 * 65, "two lines of each file");
    }
}
