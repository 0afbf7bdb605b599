//! Answers that are longer than they can be.

use super::*;

/// A lot of JSON without meaning.
fn padded(answer: &[u8], bytes: usize) -> Vec<u8> {
    let mut padded = answer.to_vec();
    padded.resize(answer.len() + bytes, b' ');
    padded
}

#[test]
fn padding_and_bombs_in_small_answers_are_not_reported_as_a_large_tree() {
    let liar = Liar::new();
    let small = ["/commits/heads", "/git/commits/"];
    for part in small {
        let outcome = liar.lie(
            When::get(part),
            Action::mutate(|answer| padded(&answer, 2 << 20)),
        );
        assert!(
            matches!(outcome, (Error::NotAForge { .. }, Exit::Network)),
            "{part}: {outcome:?}"
        );
        let said = outcome.0.to_string();
        assert!(said.contains("longer than 1 MiB"), "{said}");
    }
    for part in [
        "/commits/heads",
        "/git/commits/",
        "/git/trees/",
        "/git/blobs/",
    ] {
        let (error, exit) = liar.lie(When::get(part), Action::gzip_bomb(64 << 20));
        assert!(
            matches!(exit, Exit::Network | Exit::Verification),
            "{part}: {error:?}"
        );
    }
    let tree = liar.lie(
        When::get("/git/trees/"),
        Action::mutate(|answer| padded(&answer, 49 << 20)),
    );
    assert!(
        matches!(tree, (Error::NotAForge { .. }, Exit::Network)),
        "{tree:?}"
    );
    // The body of a refusal is read only as far as it is shown.
    let refused = liar.lie(
        When::get("/git/trees/"),
        Action::status_with(
            404,
            "content-type",
            "application/json",
            padded(br#"{"message":"Not Found"}"#, 2 << 20),
        ),
    );
    assert!(
        matches!(
            refused,
            (
                Error::Verification(VerificationError::Incomplete { .. }),
                Exit::Verification
            )
        ),
        "{refused:?}"
    );
}

#[test]
fn a_blob_is_cut_where_it_is_longer_than_the_listing_says() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    for action in [
        Action::ReplaceBody(vec![b'x'; 8 << 20]),
        Action::gzip_bomb(190 << 20),
    ] {
        let hits = forge.clear_faults().fault(When::get("/git/blobs/"), action);
        let source = source(&forge);
        let error = Machine::new()
            .obtain(&source, &repo.tip().unwrap())
            .unwrap_err();
        assert!(
            matches!(error, Error::Malformed { what: "blob", .. }),
            "{error:?}"
        );
        assert!(hits.count() <= 8, "no second try");
        assert!(
            source.traffic().received < 1 << 20,
            "what is not needed is not read"
        );
    }
}
