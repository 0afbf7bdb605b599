//! Packet lines: what a server advertises, and its answers to `ls-refs`, as they are and with right lengths.
#![no_main]

use hyper_sync::fuzzing;
use hyper_sync::settings::Limits;
use hyper_sync::source::Source as _;
use hyper_sync::source::git::{GitSource, Options};
use hyper_sync_fuzz::{Script, answer, parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = fuzzing::greeting(data);
    let _ = fuzzing::greeting(&answer(data, &[]));
    let _ = fuzzing::translated(data);
    let _ = fuzzing::translated(&answer(data, &[]));
    for framed in [false, true] {
        let answers = parts(data, b"\n---\n").map(|part| {
            if framed {
                answer(part, &[])
            } else {
                part.to_vec()
            }
        });
        let script = Script::new(answers.collect(), None);
        let options = Options::new(Limits::default(), hyper_sync::source::Interrupt::default());
        let source = GitSource::new(Box::new(script), options);
        for name in ["main", "refs/tags/v1", "HEAD"] {
            match source.resolve(name) {
                Ok(resolved) => {
                    let id = resolved.commit.to_string();
                    let is_sent = data.windows(40).any(|window| window == id.as_bytes());
                    assert!(is_sent, "an id that no answer has: {id}");
                }
                Err(error) => drop(error.to_string()),
            }
        }
    }
});
