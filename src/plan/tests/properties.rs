//! The plan against a model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn tree() -> impl Strategy<Value = Files> {
    let name = prop::sample::select(vec!["a", "b", "d/a", "d/b", "d/e/f", "x-local.nix"]);
    let mode = prop::sample::select(vec![
        FileMode::Regular,
        FileMode::Executable,
        FileMode::Symlink,
    ]);
    prop::collection::btree_map(name, (mode, 1..4u8), 0..6).prop_map(|entries| {
        entries
            .into_iter()
            .map(|(name, (mode, content))| {
                (
                    path(name),
                    File {
                        mode,
                        id: id(content),
                    },
                )
            })
            .collect()
    })
}

/// Things at few names, some above others and none below a file, as in a tree.
fn cramped(thing: impl Strategy<Value = Local>) -> impl Strategy<Value = Locals> {
    let name = prop::sample::select(vec![
        "a",
        "d",
        "d-x",
        "d/a",
        "d/e",
        "d/e/f",
        "d/e/g/h",
        "x-local.nix",
        "x-local.nix/a",
        "scripts/s.sh",
        "scripts/s.sh/a",
    ]);
    prop::collection::btree_map(name, thing, 0..8).prop_map(|entries| {
        let all: Locals = entries
            .into_iter()
            .map(|(name, local)| (path(name), local))
            .collect();
        let is_in_the_way = |at: &RelPath| {
            all.get(at)
                .is_some_and(|local| !matches!(local, Local::Directory { .. }))
        };
        let stands = |at: &RelPath| !at.ancestors().any(|above| is_in_the_way(&above));
        let kept = all.iter().filter(|(at, _)| stands(at));
        kept.map(|(at, local)| (at.clone(), local.clone()))
            .collect()
    })
}

fn file_on_disk() -> impl Strategy<Value = Local> {
    let mode = prop::sample::select(vec![
        FileMode::Regular,
        FileMode::Executable,
        FileMode::Symlink,
    ]);
    (mode, 1..3u8).prop_map(|(mode, content)| {
        on_disk(File {
            mode,
            id: id(content),
        })
    })
}

fn thing_on_disk() -> impl Strategy<Value = Local> {
    prop_oneof![
        4 => file_on_disk(),
        2 => Just(Local::Special { stat: stat(FileKind::Special) }),
        1 => Just(directory(&[])),
    ]
}

proptest! {
    /// Carrying out the plan yields the commit everywhere but where an edit stays, and is then done.
    #[test]
    fn the_result_is_the_commit_and_a_second_plan_is_empty(
        base in tree(),
        local in tree(),
        remote in tree(),
        edits in prop::sample::select(vec![LocalEdits::Replace, LocalEdits::Keep, LocalEdits::Refuse]),
    ) {
        let policy = Policy { mass_delete: MassDelete::Allow, require: vec![], ..policy(edits) };
        let looked: Locals = local.iter().map(|(path, file)| (path.clone(), on_disk(*file))).collect();
        let planned = plan(&base, &looked, &remote, &policy).map_err(|error| TestCaseError::fail(error.to_string()))?;
        if planned.conflicts().is_empty() {
            let mut result = local.clone();
            for operation in planned.operations() {
                prop_assert_eq!(&operation.before, looked.get(&operation.path).unwrap_or(&Local::Missing));
                match operation.after {
                    Some(file) => { result.insert(operation.path.clone(), file); }
                    None => { result.remove(&operation.path); }
                }
                let ours = base.get(&operation.path);
                let lost = local.get(&operation.path);
                prop_assert!(lost.is_none() || lost == ours || operation.edited, "an edit would be lost");
            }
            let kept: BTreeSet<_> = planned.kept().iter().map(|kept| &kept.path).collect();
            for (path, file) in &remote {
                prop_assert!(kept.contains(path) || result.get(path) == Some(file), "{} is not the commit's", path);
            }
            for path in base.keys().filter(|path| !remote.contains_key(*path)) {
                prop_assert!(kept.contains(path) || !result.contains_key(path), "{} is still there", path);
            }
            for (path, file) in &local {
                if !base.contains_key(path) && !remote.contains_key(path) {
                    prop_assert_eq!(result.get(path), Some(file), "not ours, not wanted, and touched");
                }
            }
            let looked = result.iter().map(|(path, file)| (path.clone(), on_disk(*file))).collect();
            let again = plan(planned.index(), &looked, &remote, &policy);
            prop_assert!(again.is_ok_and(|again| again.operations().is_empty() && again.conflicts().is_empty()));
        }
    }
}

proptest! {
    // Few of the cases have something in the way that some rule is about.
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// What is in the way is found once for all paths; here it is looked for above each path, as the rule is written.
    #[test]
    fn a_path_is_blocked_exactly_where_what_stands_above_it_does_not_go(
        base in cramped(file_on_disk()),
        local in cramped(thing_on_disk()),
        remote in cramped(file_on_disk()),
        edits in prop::sample::select(vec![LocalEdits::Replace, LocalEdits::Keep, LocalEdits::Refuse]),
    ) {
        let policy = Policy { mass_delete: MassDelete::Allow, require: vec![], ..policy(edits) };
        let as_files = |things: &Locals| -> Files {
            things.iter().filter_map(|(path, local)| Some((path.clone(), local.file()?))).collect()
        };
        let (base, remote) = (as_files(&base), as_files(&remote));
        let is_ours = |at: &RelPath| base.contains_key(at) && !remote.contains_key(at);
        let unedited = |at: &RelPath, there: &Local| {
            let known = &base[at];
            let same_but_for_the_bit = matches!(there, Local::File { .. })
                && policy.executable.matches(at)
                && known.mode != FileMode::Symlink
                && there.id() == Some(known.id);
            there.is(known) || same_but_for_the_bit
        };
        let protected = |at: &RelPath| policy.protect.matches(at);
        let goes = |at: &RelPath, there: &Local| {
            is_ours(at)
                && (unedited(at, there)
                    || (edits == LocalEdits::Replace && there.file().is_some() && !protected(at)))
        };
        let stands = |at: &RelPath| {
            let there = local.get(at).unwrap_or(&Local::Missing);
            !matches!(there, Local::Missing | Local::Directory { .. }) && !goes(at, there)
        };
        let stays = |at: &RelPath| {
            protected(at) || edits == LocalEdits::Keep || (is_ours(at) && local[at].file().is_none())
        };
        let above: BTreeMap<&RelPath, RelPath> = remote
            .keys()
            .filter_map(|path| Some((path, path.ancestors().find(stands)?)))
            .collect();
        match plan(&base, &local, &remote, &policy) {
            Ok(planned) if !planned.conflicts().is_empty() => {
                let conflicts = planned.conflicts();
                let reported: Vec<&RelPath> = conflicts.iter().map(|conflict| &conflict.path).collect();
                let once: BTreeSet<&RelPath> = reported.iter().copied().collect();
                prop_assert_eq!(reported.len(), once.len(), "reported twice");
                let refused: BTreeSet<&RelPath> = above.values().filter(|at| !stays(at)).collect();
                prop_assert!(refused.is_subset(&once));
                let in_the_way = conflicts
                    .iter()
                    .filter(|conflict| conflict.problem == ConflictKind::NoDirectory);
                for conflict in in_the_way {
                    prop_assert!(refused.contains(&conflict.path));
                }
            }
            Ok(planned) => {
                let kept = planned.kept().iter().filter(|kept| kept.reason == SkipReason::Blocked);
                let blocked: Vec<&RelPath> = kept.map(|kept| &kept.path).collect();
                prop_assert_eq!(blocked, above.keys().copied().collect::<Vec<_>>());
                prop_assert!(above.values().all(stays));
                prop_assert!(above.keys().all(|path| !planned.index().contains_key(*path)));
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
}
