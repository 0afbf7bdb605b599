//! A choice of `cargo test --test hostile`: all of its packs, and some of its mutated sessions.

#[path = "../hostile/mutations.rs"]
mod mutations;
#[path = "../hostile/outcomes.rs"]
mod outcomes;
#[path = "../hostile/packs.rs"]
mod packs;

#[test]
fn hostile_packs_leave_nothing_that_does_not_hash() {
    let counts = packs::all();
    assert!(counts.total() >= 60 && counts.taken() > 0, "{counts}");
}

#[test]
fn a_mutated_session_ends_in_an_error_or_at_the_honest_commit() {
    let mut counts = mutations::of_git(150);
    counts.add(mutations::of_the_api(40));
    assert!(counts.taken() > 0, "{counts}");
    assert!(counts.taken() < counts.total(), "{counts}");
}
