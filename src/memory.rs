//! The memory of this process is nobody else's: it holds the token.
//!
//! No core is written when it crashes (`core(5)`), and no other process of the user may read its memory or attach to it
//! (`PR_SET_DUMPABLE`, `ptrace(2)`). What is started from here inherits the bound on cores; the other ends with `exec`.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps this process's memory to itself, for as long as it runs. For the begin of the program, before it reads anything.
///
/// A kernel that refuses either is no reason to stop: neither is needed for anything that is done.
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
    fn memory_is_kept_from_others_and_from_cores() {
        let before = dumpable_behavior().unwrap();
        keep();
        let kept = dumpable_behavior().unwrap();
        set_dumpable_behavior(before).unwrap();
        assert!(matches!(kept, DumpableBehavior::NotDumpable));
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
