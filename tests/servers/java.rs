//! JGit and Jetty as Debian packages them.

use std::fs;

/// Where Debian's Java libraries lie.
const LIBRARIES: &str = "/usr/share/java";

/// What JGit's command line and its servlet need. Debian's `jgit` script lacks one of them and ends with an exception.
const PREFIXES: &[&str] = &[
    "args4j.jar",
    "commons-compress.jar",
    "javaewah.jar",
    "jetty9-",
    "jsch.jar",
    "org.eclipse.jgit",
    "servlet-api.jar",
    "slf4j-api.jar",
    "slf4j-nop.jar",
];

/// The class path of all that is installed of it.
pub(crate) fn class_path() -> String {
    let entries = fs::read_dir(LIBRARIES).expect("libjgit-java is installed");
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = names
        .filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        // Each library has a second name with its version.
        .filter(|name| !name.contains("-r.jar") && !name.contains("-9."))
        .map(|name| format!("{LIBRARIES}/{name}"))
        .collect();
    files.sort();
    files.join(":")
}
