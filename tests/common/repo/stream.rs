//! The lines of a `git fast-import` stream.

/// Starts a commit in a `git fast-import` stream.
pub(super) fn commit_header(
    stream: &mut Vec<u8>,
    branch: &str,
    mark: usize,
    who: &str,
    when: &str,
    message: &str,
) {
    let message = if message.ends_with('\n') {
        message.to_owned()
    } else {
        format!("{message}\n")
    };
    let head = format!(
        "commit {branch}\nmark :{mark}\nauthor {who} {when}\ncommitter {who} {when}\ndata {}\n{message}\n",
        message.len()
    );
    stream.extend_from_slice(head.as_bytes());
}

/// `M`: a path with content that follows.
pub(super) fn modify_inline(stream: &mut Vec<u8>, mode: &str, path: &[u8], content: &[u8]) {
    modify(stream, mode, "inline", path);
    stream.extend_from_slice(format!("data {}\n", content.len()).as_bytes());
    stream.extend_from_slice(content);
    stream.push(b'\n');
}

/// `M`: a path with an object that exists.
pub(super) fn modify(stream: &mut Vec<u8>, mode: &str, id: &str, path: &[u8]) {
    stream.extend_from_slice(format!("M {mode} {id} ").as_bytes());
    quote(path, stream);
    stream.push(b'\n');
}

/// A path between quotes, as fast-import reads it.
pub(super) fn quote(path: &[u8], stream: &mut Vec<u8>) {
    stream.push(b'"');
    for byte in path {
        match byte {
            b'"' | b'\\' => stream.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => stream.push(*byte),
            _ => stream.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
    stream.push(b'"');
}
