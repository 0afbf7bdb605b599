//! Manual pages.

use crate::common::env::Sandbox;

fn page(args: &[&str]) -> String {
    Sandbox::new().run(args).ok().stdout
}

#[test]
fn each_command_has_a_manual_page() {
    assert!(page(&["man"]).contains(".TH hyper-sync 1"));
    for command in [
        &["sync"][..],
        &["validate"],
        &["status"],
        &["rebuild"],
        &["suspend"],
        &["resume"],
        &["config", "show"],
    ] {
        let page = page(&[&["man"], command].concat());
        let title = format!(".TH hyper-sync-{} 1", command.join("-"));
        assert!(page.contains(&title), "{page}");
        assert!(page.contains("token\\-file"), "{page}");
    }
    let output = Sandbox::new().run(&["man", "nothing"]).code(64);
    let message = "error: there is no command `nothing`\n";
    assert!(output.stderr.contains(message), "{}", output.stderr);
}

#[test]
fn manual_pages_have_the_text_of_every_option_and_the_usual_sections() {
    for command in [
        &["man"][..],
        &["man", "sync"],
        &["man", "restore"],
        &["man", "forget"],
    ] {
        let page = Sandbox::new().run(command).ok().stdout;
        let sections: Vec<&str> = { page.lines() }
            .filter_map(|line| line.strip_prefix(".SH "))
            .collect();
        for section in ["SYNOPSIS", "FILES", "ENVIRONMENT", "\"SEE ALSO\""] {
            assert!(sections.contains(&section), "{command:?}: {sections:?}");
        }
        assert!(!sections.contains(&"EXTRA"));
        for text in [
            "Directory for downloaded objects, undo copies and the journal",
            "Where the result of the last sync is published as JSON",
            "Base of the REST API of a GitHub Enterprise",
            "No progress bars",
            "When to use colour",
        ] {
            assert!(page.contains(text), "{command:?}: {text}");
        }
    }
    let page = Sandbox::new().run(&["man", "restore"]).ok().stdout;
    let synopsis = page.split(".SH SYNOPSIS\n").nth(1).unwrap();
    let first = synopsis.lines().next().unwrap().replace('\\', "");
    assert_eq!(first, "hyper-sync restore [OPTIONS] <PATH>...");
    let root = Sandbox::new().run(&["man"]).ok().stdout.replace('\\', "");
    // Each on a line of its own, as it is typed.
    assert!(
        root.contains("\nfBhyper-sync --ref v2.1 --skip-rebuildfR\n"),
        "{root}"
    );
}
