//! Protects the memory of this process, which has the token.
//!
//! No core is written when it crashes (`core(5)`), and no other process of the user may read its memory or attach to it
//! (`PR_SET_DUMPABLE`, `ptrace(2)`). Child processes inherit the limit on cores; the other ends with `exec`.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Disables core dumps and `ptrace` for this process. To be called before the program reads anything.
///
/// A kernel that refuses either is ignored, because the program works without.
pub fn keep() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn core_dumps_and_ptrace_are_disabled() {
        let before = dumpable_behavior().unwrap();
        keep();
        let kept = dumpable_behavior().unwrap();
        set_dumpable_behavior(before).unwrap();
        assert!(matches!(kept, DumpableBehavior::NotDumpable));
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
