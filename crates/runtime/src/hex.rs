//! Bytes as hex digits, and back: for digests, keys and signatures that people and files see.
//!
//! Invariant: what is no even number of hex digits is nothing, whatever stands in it.

/// Bytes as small hex digits, two for each.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hex digits, small or large, as bytes.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    digits.chunks_exact(2).map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back_as_the_bytes_that_they_were() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all.clone()));
        assert_eq!(decode(&encode(&all).to_uppercase()), Some(all));
        assert_eq!(encode([0, 10, 255]), "000aff");
        assert_eq!(decode(""), Some(vec![]));
    }

    #[test]
    fn what_is_no_digits_is_nothing() {
        for text in ["0", "0g", "+1", " 1", "é0", "0é", "1 ", "0x00"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
