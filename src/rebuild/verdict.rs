//! What the exit code of a rebuild, and the text before it, mean.
//!
//! `switch-to-configuration` distinguishes its failures by its code; `nixos-rebuild` passes it on in some versions and
//! turns it into 1, with a sentence, in others. A Nix build that fails may end with any code, 100 among them.

/// The end of `nixos-rebuild` or `switch-to-configuration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All went well.
    Done,
    /// Nothing was activated: evaluation or build failed.
    NotBuilt,
    /// The activation failed.
    NotActivated,
    /// The system is active, units failed.
    UnitsFailed,
    /// The init system is another one: only a boot can start this system.
    RebootNeeded,
    /// Somebody else holds the lock of `switch-to-configuration`, or its unit.
    Busy,
}

/// `switch-to-configuration`'s codes: 2 activation script, 3 reload of systemd, 4 units, 100 another init.
const ACTIVATION_SCRIPT: i32 = 2;
const RELOAD: i32 = 3;
const UNITS: i32 = 4;
const OTHER_INIT: i32 = 100;

impl Verdict {
    /// Of `switch-to-configuration`.
    pub(super) fn of_activation(code: i32, text: &str) -> Self {
        match code {
            0 => Self::Done,
            UNITS => Self::UnitsFailed,
            OTHER_INIT => Self::RebootNeeded,
            _ if is_busy(text) => Self::Busy,
            _ => Self::NotActivated,
        }
    }

    /// Of `nixos-rebuild` for an action that activates.
    pub(super) fn of_rebuild(code: i32, text: &str) -> Self {
        if code == 0 {
            return Self::Done;
        }
        if is_busy(text) {
            return Self::Busy;
        }
        if let Some(code) = told_code(text) {
            return Self::of_activation(code, text);
        }
        if text.contains("error(s) occurred while switching") {
            return if text.contains("the following units failed") {
                Self::UnitsFailed
            } else {
                Self::NotActivated
            };
        }
        // Nix prints `error:`, the activation `Error:` or `warning:`.
        let of_nix = text
            .lines()
            .any(|line| line.trim_start().starts_with("error:"));
        match code {
            ACTIVATION_SCRIPT | RELOAD | UNITS | OTHER_INIT if !of_nix => {
                Self::of_activation(code, text)
            }
            _ => Self::NotBuilt,
        }
    }
}

/// The lock of `switch-to-configuration` is held, or its unit exists.
fn is_busy(text: &str) -> bool {
    text.contains("Could not acquire lock")
        || (text.contains("switch-to-configuration") && text.contains("already loaded"))
}

/// The code of `switch-to-configuration` where `nixos-rebuild` prints it in a sentence.
fn told_code(text: &str) -> Option<i32> {
    let line = text
        .lines()
        .rfind(|line| line.contains("/bin/switch-to-configuration"))?;
    let (_, rest) = line.rsplit_once("non-zero exit status ")?;
    let digits = rest.trim_end_matches(|c: char| !c.is_ascii_digit());
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_the_activation_are_told_apart() {
        let of = |code| Verdict::of_activation(code, "");
        assert_eq!(of(0), Verdict::Done);
        assert_eq!(of(1), Verdict::NotActivated);
        assert_eq!(of(2), Verdict::NotActivated);
        assert_eq!(of(3), Verdict::NotActivated);
        assert_eq!(of(4), Verdict::UnitsFailed);
        assert_eq!(of(100), Verdict::RebootNeeded);
        assert_eq!(
            Verdict::of_activation(11, "Could not acquire lock"),
            Verdict::Busy
        );
    }

    #[test]
    fn nixos_rebuild_passes_the_code_on_or_tells_it_or_hides_it() {
        assert_eq!(Verdict::of_rebuild(4, ""), Verdict::UnitsFailed);
        let told = "Command 'systemd-run --unit=nixos-rebuild-switch-to-configuration \
            /nix/store/x-nixos-system/bin/switch-to-configuration test' returned non-zero exit status 4.";
        assert_eq!(Verdict::of_rebuild(1, told), Verdict::UnitsFailed);
        let hidden = "warning: error(s) occurred while switching to the new configuration";
        assert_eq!(Verdict::of_rebuild(1, hidden), Verdict::NotActivated);
        let units = format!("warning: the following units failed: a.service\n{hidden}");
        assert_eq!(Verdict::of_rebuild(1, &units), Verdict::UnitsFailed);
    }

    #[test]
    fn a_failed_build_is_no_reboot_whatever_its_code() {
        let text = "error: builder for '/nix/store/x.drv' failed with exit code 1";
        assert_eq!(Verdict::of_rebuild(100, text), Verdict::NotBuilt);
        assert_eq!(Verdict::of_rebuild(1, text), Verdict::NotBuilt);
        assert_eq!(Verdict::of_rebuild(100, ""), Verdict::RebootNeeded);
        assert_eq!(Verdict::of_rebuild(1, ""), Verdict::NotBuilt);
    }

    #[test]
    fn a_held_lock_and_a_unit_that_exists_are_busy() {
        for text in [
            "Could not acquire lock",
            "Failed to start transient service unit: Unit nixos-rebuild-switch-to-configuration.service was already loaded or has a fragment file.",
        ] {
            assert_eq!(Verdict::of_rebuild(1, text), Verdict::Busy);
        }
    }
}
