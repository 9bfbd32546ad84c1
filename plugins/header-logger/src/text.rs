//! Header bytes as text. HTTP lets a value hold bytes that are no UTF-8, and clients send them.

use std::fmt::Write;

/// Appends `bytes` to `out`: valid UTF-8 as it is; any other byte, and control characters,
/// as `\xNN` or a similar escape, so that a header can neither panic us nor forge a log line.
pub fn push_readable(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                out.extend(character.escape_default());
            } else {
                out.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(bytes: &[u8]) -> String {
        let mut out = String::new();
        push_readable(&mut out, bytes);
        out
    }

    #[test]
    fn utf8_stays_as_it_is() {
        assert_eq!(readable(b"MyTestClient"), "MyTestClient");
        assert_eq!(readable("瀏覽器/1.0 ☃".as_bytes()), "瀏覽器/1.0 ☃");
        assert_eq!(readable(b""), "");
    }

    #[test]
    fn bytes_that_are_no_utf8_become_escapes() {
        assert_eq!(readable(b"Yodao\xa1\xb1; )"), "Yodao\\xa1\\xb1; )");
        assert_eq!(readable(b"\xff"), "\\xff");
    }

    #[test]
    fn a_cut_character_is_escaped_byte_by_byte() {
        assert_eq!(readable(b"a\xe7\x80"), "a\\xe7\\x80");
    }

    #[test]
    fn control_characters_cannot_break_the_log_line() {
        assert_eq!(readable(b"a\nb\tc\r"), "a\\nb\\tc\\r");
    }

    #[test]
    fn no_byte_panics() {
        for byte in 0..=u8::MAX {
            assert!(!readable(&[byte]).is_empty());
        }
    }
}
