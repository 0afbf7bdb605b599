//! Characters that are invisible, or are displayed in another place than they are in the text.

/// `Default_Ignorable_Code_Point`, from `DerivedCoreProperties.txt` of the Unicode Character Database, the same in all
/// versions from 14.0.0 to 18.0.0. What is reserved for more of the kind is part of it, so that a new version rarely
/// changes it.
const DEFAULT_IGNORABLE: &[(char, char)] = &[
    ('\u{00ad}', '\u{00ad}'),
    ('\u{034f}', '\u{034f}'),
    ('\u{061c}', '\u{061c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether nothing is drawn for it, or the order of what is drawn changes: every default ignorable, among them all
/// direction controls and zero-width characters, the separators of lines and paragraphs, and the marks of interlinear
/// annotations.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    // Below it is what most text consists of.
    c >= '\u{ad}'
        && (matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
            || DEFAULT_IGNORABLE
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&c)))
}

/// Whether it is drawn as a gap and is not the space: the other characters of `White_Space`, and U+2800, the Braille
/// cell without dots.
#[must_use]
pub fn is_blank(c: char) -> bool {
    c == '\u{2800}' || (c != ' ' && c.is_whitespace())
}

/// A character as Unicode names it: `U+200B`.
#[must_use]
pub fn code_point(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_visible() {
        for c in "aZ0 ~é\u{301}日🦀\u{2500}\u{fffd}".chars() {
            assert!(!is_invisible(c) && !is_blank(c), "{c:?}");
        }
    }

    #[test]
    fn every_kind_of_invisible_character_is_known() {
        for c in [
            '\u{ad}',    // soft hyphen
            '\u{34f}',   // combining grapheme joiner
            '\u{61c}',   // Arabic letter mark
            '\u{115f}',  // Hangul filler
            '\u{17b4}',  // Khmer inherent vowel
            '\u{180e}',  // Mongolian vowel separator
            '\u{200b}',  // zero-width space
            '\u{200d}',  // zero-width joiner
            '\u{2028}',  // line separator
            '\u{202e}',  // right-to-left override
            '\u{2066}',  // left-to-right isolate
            '\u{2065}',  // reserved
            '\u{3164}',  // Hangul filler
            '\u{fe0f}',  // variation selector
            '\u{feff}',  // byte order mark
            '\u{ffa0}',  // halfwidth Hangul filler
            '\u{fffb}',  // interlinear annotation terminator
            '\u{1d173}', // musical symbol begin beam
            '\u{e0041}', // tag
            '\u{e0100}', // variation selector 17
            '\u{e0fff}', // reserved
        ] {
            assert!(is_invisible(c), "{}", code_point(c));
        }
    }

    #[test]
    fn every_gap_but_the_space_is_blank() {
        for c in "\t\n\u{85}\u{a0}\u{1680}\u{2000}\u{2007}\u{200a}\u{2028}\u{202f}\u{205f}\u{3000}\u{2800}".chars() {
            assert!(is_blank(c), "{}", code_point(c));
        }
    }
}
