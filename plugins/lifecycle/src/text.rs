//! Bytes as text that loses nothing, and lists of pairs as the ABI packs them.

/// Printable ASCII as it is, a backslash twice, any other byte as `\xNN`: from the line in the
/// log the bytes can be had back.
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out
}

/// The pairs in `bytes`. They come from the host; should they be cut short, so is the list.
pub fn unpacked(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let number = |at: usize| -> Option<usize> {
        let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(four)).ok()
    };
    let count = number(0).unwrap_or(0);
    let mut at = count.saturating_mul(8).saturating_add(4);
    let mut pairs = Vec::new();
    for index in 0..count {
        let (Some(name), Some(value)) = (number(4 + 8 * index), number(8 + 8 * index)) else {
            break;
        };
        let middle = at.saturating_add(name).saturating_add(1);
        let (Some(name), Some(value)) =
            (bytes.get(at..middle - 1), bytes.get(middle..middle.saturating_add(value)))
        else {
            break;
        };
        pairs.push((name.to_vec(), value.to_vec()));
        at = middle + value.len() + 1;
    }
    pairs
}

/// `pairs` as the ABI wants them.
pub fn packed(pairs: &[(String, Vec<u8>)]) -> Vec<u8> {
    let length = |part: usize| u32::try_from(part).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = Vec::from(length(pairs.len()));
    for (name, value) in pairs {
        out.extend(length(name.len()));
        out.extend(length(value.len()));
    }
    for (name, value) in pairs {
        out.extend(name.as_bytes());
        out.push(0);
        out.extend(value);
        out.push(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_printable_and_none_is_lost() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let line = escaped(&all);
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(escaped(b"a\\b\n\xa1"), "a\\\\b\\x0a\\xa1");
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let pairs = vec![("a".to_owned(), b"1".to_vec()), (String::new(), b"\x00\xff".to_vec())];
        let out = unpacked(&packed(&pairs));
        assert_eq!(out, [(b"a".to_vec(), b"1".to_vec()), (vec![], b"\x00\xff".to_vec())]);
        assert!(unpacked(b"").is_empty());
    }

    #[test]
    fn a_list_that_is_cut_short_does_not_panic() {
        let whole = packed(&[("name".to_owned(), b"value".to_vec())]);
        for length in 0..whole.len() {
            assert!(unpacked(&whole[..length]).len() <= 1);
        }
    }
}
