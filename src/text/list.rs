//! Lists of things, of which only the first are named where there are very many.

/// How many things are named before the rest is counted.
pub const LISTED: usize = 20;

/// The first of some things, and where there are more, how many in words: `and 3 more`.
///
/// One more than `listed` is named and not counted: the words would take its place.
#[must_use]
pub fn first<T>(things: impl IntoIterator<Item = T>, listed: usize) -> (Vec<T>, Option<String>) {
    let mut things: Vec<T> = things.into_iter().collect();
    if things.len() <= listed.saturating_add(1) {
        return (things, None);
    }
    let more = things.len() - listed;
    things.truncate(listed);
    (things, Some(format!("and {more} more")))
}

/// Things that were shown one by one, in one line.
#[must_use]
pub fn list<T: AsRef<str>>(shown: impl IntoIterator<Item = T>) -> String {
    let (shown, more) = first(shown, LISTED);
    let names: Vec<&str> = shown.iter().map(AsRef::as_ref).collect();
    let text = names.join(", ");
    match more {
        None => text,
        Some(more) => format!("{text} {more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_only_the_first_are_named() {
        assert_eq!(first(0..0, 2), (vec![], None));
        assert_eq!(first(0..3, 2), (vec![0, 1, 2], None));
        assert_eq!(first(0..4, 2), (vec![0, 1], Some("and 2 more".to_owned())));
        assert_eq!(first(0..4, usize::MAX).0.len(), 4);
    }
}
