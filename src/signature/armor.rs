//! ASCII armor: a begin line, headers, base64, and an end line.

use data_encoding::BASE64;

/// The concatenated content of all blocks `label`. `None` if one of them is broken.
///
/// Text between the blocks is ignored, and so is the checksum of OpenPGP, as RFC 9580 requires.
pub(super) fn decode(text: &str, label: &str) -> Option<Vec<u8>> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let mut content = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while lines.by_ref().any(|line| line == begin) {
        let mut encoded = String::new();
        loop {
            let line = lines.next()?;
            if line == end {
                break;
            }
            // A header is `Name: value`, a checksum `=` and four characters; neither can be a line of base64.
            let is_checksum = line.starts_with('=') && line.len() == 5;
            if !is_checksum && !line.contains(':') {
                encoded.push_str(line);
            }
        }
        content.extend(BASE64.decode(encoded.as_bytes()).ok()?);
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_decoded_without_headers_and_checksum() {
        let text = "words\n-----BEGIN X-----\r\nVersion: 1\r\n\r\naGVs\r\nbG8=\r\n=abcd\r\n-----END X-----\nmore\n\
            -----BEGIN X-----\nIQ==\n-----END X-----\n-----BEGIN Y-----\n";
        assert_eq!(decode(text, "X").unwrap(), b"hello!");
        assert_eq!(decode(text, "Y"), None);
        assert_eq!(decode("-----BEGIN X-----\nIQ=\n-----END X-----", "X"), None);
        assert_eq!(decode("nothing", "X").unwrap(), b"");
        // A line may be broken before its padding.
        let broken = "-----BEGIN X-----\nIQ\n==\n-----END X-----";
        assert_eq!(decode(broken, "X").unwrap(), b"!");
    }
}
