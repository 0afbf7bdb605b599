//! Git objects as the REST API shows them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::Shared;
use crate::common::git::Object;

/// A commit or tag object taken apart.
struct Parsed {
    /// Header lines in order, continuation lines joined by newlines.
    headers: Vec<(String, String)>,
    message: String,
    signature: Option<String>,
    /// The object without its signature: what was signed.
    payload: String,
}

impl Parsed {
    fn of(data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data).into_owned();
        let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in head.lines() {
            if let Some(more) = line.strip_prefix(' ') {
                if let Some((_, value)) = headers.last_mut() {
                    value.push('\n');
                    value.push_str(more);
                }
            } else {
                let (key, value) = line.split_once(' ').unwrap_or((line, ""));
                headers.push((key.to_owned(), value.to_owned()));
            }
        }
        let signature = headers
            .iter()
            .find(|(key, _)| key == "gpgsig")
            .map(|(_, value)| value.clone());
        let mut payload = String::new();
        for (key, value) in headers.iter().filter(|(key, _)| key != "gpgsig") {
            let value = value.replace('\n', "\n ");
            payload.extend([key, " ", &value, "\n"]);
        }
        payload.push('\n');
        payload.push_str(message);
        // The message comes without its last newline: one of the reasons why an id cannot simply be rebuilt.
        let message = message.strip_suffix('\n').unwrap_or(message).to_owned();
        Self {
            headers,
            message,
            signature,
            payload,
        }
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    fn first(&self, key: &str) -> &str {
        self.headers
            .iter()
            .find(|(k, _)| k == key)
            .map_or("", |(_, value)| value)
    }

    /// Who and when, the time zone lost.
    fn person(&self, key: &str) -> Value {
        let value = self.first(key);
        let (name, rest) = value.split_once(" <").unwrap_or((value, ""));
        let (email, when) = rest.split_once("> ").unwrap_or((rest, "0"));
        let seconds = when
            .split(' ')
            .next()
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        let date = jiff::Timestamp::from_second(seconds)
            .unwrap_or_default()
            .to_string();
        json!({ "name": name, "email": email, "date": date })
    }

    fn verification(&self) -> Value {
        match &self.signature {
            Some(signature) => json!({
                "verified": false, "reason": "unknown_key", "signature": signature, "payload": self.payload, "verified_at": null,
            }),
            None => {
                json!({ "verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null })
            }
        }
    }
}

/// `git/commits/{sha}`.
pub(super) fn git_commit(base: &str, web: &str, object: &Object) -> Value {
    let parsed = Parsed::of(&object.data);
    let (id, tree) = (&object.id, parsed.first("tree"));
    let parents: Vec<Value> = parsed
        .all("parent")
        .map(|id| parent(base, web, id, "git/commits"))
        .collect();
    json!({
        "sha": id, "node_id": format!("C_{id}"), "url": format!("{base}/git/commits/{id}"), "html_url": format!("{web}/commit/{id}"),
        "author": parsed.person("author"), "committer": parsed.person("committer"),
        "tree": { "sha": tree, "url": format!("{base}/git/trees/{tree}") },
        "message": parsed.message, "parents": parents, "verification": parsed.verification(),
    })
}

/// `commits/{ref}`, without the patches.
pub(super) fn commit(
    base: &str,
    web: &str,
    object: &Object,
    files: &[(String, String, String)],
) -> Value {
    let parsed = Parsed::of(&object.data);
    let (id, tree) = (&object.id, parsed.first("tree"));
    let parents: Vec<Value> = parsed
        .all("parent")
        .map(|id| parent(base, web, id, "commits"))
        .collect();
    let files: Vec<Value> = files
        .iter()
        .take(300)
        .map(|(status, id, name)| json!({ "sha": id, "filename": name, "status": status, "blob_url": format!("{web}/blob/{id}") }))
        .collect();
    json!({
        "sha": id, "node_id": format!("C_{id}"), "url": format!("{base}/commits/{id}"), "html_url": format!("{web}/commit/{id}"),
        "commit": {
            "author": parsed.person("author"), "committer": parsed.person("committer"), "message": parsed.message,
            "tree": { "sha": tree, "url": format!("{base}/git/trees/{tree}") },
            "url": format!("{base}/git/commits/{id}"), "comment_count": 0, "verification": parsed.verification(),
        },
        "author": null, "committer": null, "parents": parents, "files": files,
    })
}

fn parent(base: &str, web: &str, id: &str, route: &str) -> Value {
    json!({ "sha": id, "url": format!("{base}/{route}/{id}"), "html_url": format!("{web}/commit/{id}") })
}

/// `git/tags/{sha}`.
pub(super) fn tag(base: &str, object: &Object) -> Value {
    let parsed = Parsed::of(&object.data);
    let (target, kind) = (parsed.first("object"), parsed.first("type"));
    json!({
        "node_id": format!("TA_{}", object.id), "sha": object.id, "url": format!("{base}/git/tags/{}", object.id),
        "tagger": parsed.person("tagger"), "object": { "sha": target, "type": kind, "url": format!("{base}/git/{kind}s/{target}") },
        "tag": parsed.first("tag"), "message": parsed.message, "verification": parsed.verification(),
    })
}

/// One object of `git/ref/…`.
pub(super) fn reference(base: &str, name: &str, id: &str, kind: &str) -> Value {
    json!({
        "ref": name, "node_id": format!("REF_{id}"), "url": format!("{base}/git/{name}"),
        "object": { "sha": id, "type": kind, "url": format!("{base}/git/{kind}s/{id}") },
    })
}

/// `git/blobs/{sha}`: base64 with a newline after every 60 letters, the last line too.
pub(super) fn blob(base: &str, object: &Object) -> Value {
    let coded = data_encoding::BASE64.encode(&object.data);
    let mut content = String::with_capacity(coded.len() + coded.len() / 60 + 1);
    for line in coded.as_bytes().chunks(60) {
        content.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        content.push('\n');
    }
    let id = &object.id;
    json!({
        "sha": id, "node_id": format!("B_{id}"), "size": object.data.len(), "url": format!("{base}/git/blobs/{id}"),
        "content": content, "encoding": "base64",
    })
}

/// One row of a tree listing before sizes are known.
struct Row {
    path: String,
    mode: u32,
    kind: &'static str,
    id: String,
}

/// `git/trees/{sha}`: parents before children, at most `limit` rows. `asked` is echoed as the answer's id.
pub(super) fn tree(
    shared: &Shared,
    base: &str,
    asked: &str,
    tree: &str,
    recursive: bool,
    limit: usize,
) -> Value {
    let mut rows = walk(shared, tree, recursive, limit);
    let truncated = rows.len() > limit;
    rows.truncate(limit);
    // Asked once for every content: a hostile tree may name one blob a million times.
    let blobs: BTreeSet<&str> = rows
        .iter()
        .filter(|r| r.kind == "blob")
        .map(|r| r.id.as_str())
        .collect();
    let blobs: Vec<&str> = blobs.into_iter().collect();
    let infos = shared.repo.objects(|objects| objects.infos(&blobs));
    let sizes: BTreeMap<&str, u64> = blobs
        .iter()
        .zip(infos)
        .filter_map(|(id, info)| Some((*id, info?.size)))
        .collect();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut value = json!({ "path": row.path, "mode": format!("{:06o}", row.mode), "type": row.kind, "sha": row.id });
            if let Some(size) = sizes.get(row.id.as_str()) {
                value["size"] = json!(size);
            }
            if row.kind != "commit" {
                value["url"] = json!(format!("{base}/git/{}s/{}", row.kind, row.id));
            }
            value
        })
        .collect();
    json!({ "sha": asked, "url": format!("{base}/git/trees/{asked}"), "tree": rows, "truncated": truncated })
}

/// Depth first without recursion: a hostile tree is deeper than the stack of a thread.
fn walk(shared: &Shared, tree: &str, recursive: bool, limit: usize) -> Vec<Row> {
    let read = |id: &str| {
        let object = shared.repo.object_of(id).filter(|o| o.kind == "tree");
        object.map_or(Vec::new(), |object| object.data)
    };
    let mut rows = Vec::new();
    let mut open = vec![(String::new(), read(tree), 0)];
    while let Some((prefix, data, at)) = open.last_mut() {
        let rest = &data[*at..];
        let end = rest.iter().position(|byte| *byte == 0);
        let Some(end) = end.filter(|end| rest.len() >= end + 21) else {
            open.pop();
            continue;
        };
        let head = String::from_utf8_lossy(&rest[..end]);
        let (mode, name) = head.split_once(' ').unwrap_or(("0", &head));
        let mode = u32::from_str_radix(mode, 8).unwrap_or(0);
        let kind = match mode & 0o170_000 {
            0o040_000 => "tree",
            0o160_000 => "commit",
            _ => "blob",
        };
        let id = data_encoding::HEXLOWER.encode(&rest[end + 1..end + 21]);
        let path = format!("{prefix}{name}");
        *at += end + 21;
        if kind == "tree" && recursive {
            open.push((format!("{path}/"), read(&id), 0));
        }
        rows.push(Row {
            path,
            mode,
            kind,
            id,
        });
        if rows.len() > limit {
            break;
        }
    }
    rows
}
