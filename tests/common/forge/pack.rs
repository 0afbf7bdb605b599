//! Git's answers taken apart and put together again, for servers that lie about objects.

use sha1::{Digest, Sha1};

/// One pkt-line.
pub fn pkt_line(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut line = format!("{:04x}", content.len() + 4).into_bytes();
    line.extend_from_slice(content);
    line
}

/// Changes the pack inside the answer to a `fetch`, everything before it kept. The changed pack may have any length;
/// its trailer is as `change` leaves it, see [`with_trailer`].
pub fn change_pack(answer: &[u8], change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut pack = Vec::new();
    let mut inside = false;
    let mut rest = answer;
    while rest.len() >= 4 {
        let length = std::str::from_utf8(&rest[..4]).expect("a pkt-line");
        let length = usize::from_str_radix(length, 16)
            .expect("a pkt-line")
            .max(4);
        let (line, after) = rest.split_at(length);
        match (inside, line.get(4)) {
            (true, Some(1)) => pack.extend_from_slice(&line[5..]),
            // Progress and errors beside a pack that is not the honest one any more.
            (true, _) => {}
            (false, _) => out.extend_from_slice(line),
        }
        inside = inside || line.get(4..) == Some(b"packfile\n");
        rest = after;
    }
    assert!(inside, "no pack in {}", String::from_utf8_lossy(answer));
    out.extend(sideband(&change(pack)));
    out
}

/// A pack as the packets of side band 1, with the flush that ends them.
pub fn sideband(pack: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in pack.chunks(65_515) {
        out.extend(pkt_line([&[1], chunk].concat()));
    }
    out.extend_from_slice(b"0000");
    out
}

/// A pack (or what a mutation left of it) with a trailer that fits: what a hostile server sends.
pub fn with_trailer(mut pack: Vec<u8>) -> Vec<u8> {
    pack.truncate(pack.len().saturating_sub(20));
    let trailer = Sha1::digest(&pack);
    pack.extend_from_slice(&trailer);
    pack
}
