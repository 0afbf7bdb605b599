//! The configuration file, with variables of the environment behind a line `---`.
#![no_main]

use hyper_sync::settings::{ConfigFile, Env, Overrides, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (toml, variables) = text.split_once("\n---\n").unwrap_or((text, ""));
    let mut env = Env::empty().with("HOME", "/root").as_root(true);
    for line in variables.lines() {
        if let Some((name, value)) = line.split_once('=') {
            env = env.with(format!("HYPER_SYNC_{name}"), value.replace("\\n", "\n"));
        }
    }
    let file = ConfigFile::new("/etc/hyper-sync/config.toml", toml);
    match Settings::resolve(&Overrides::none(), &env, Some(&file)) {
        Ok(resolved) => {
            let settings = resolved.settings;
            assert!(settings.target.is_absolute() && settings.state_dir.is_absolute());
            assert!(!settings.reference.starts_with('-'));
            if let Some(repo) = &settings.repo {
                let _ = repo.git_url(settings.api_url.as_deref());
                let _ = repo.web_host(settings.api_url.as_deref());
                let _ = repo.identity(settings.api_url.as_deref());
            }
        }
        // With the line that is wrong.
        Err(error) => drop(format!("{:?}", miette::Report::new(error))),
    }
});
