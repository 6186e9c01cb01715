//! Values of arguments: sizes and times.

use std::time::Duration;

/// A number of bytes: digits and perhaps K, M or G (1024, 1024^2, 1024^3).
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let shift = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
    let number = digits.parse::<u64>().ok().filter(|&number| number > 0);
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected a number of bytes such as 4096, 64K or 1M".to_owned())
}

/// A time in whole milliseconds, at least 1.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<u32>().ok().filter(|&number| number > 0);
    number
        .map(|number| Duration::from_millis(number.into()))
        .ok_or_else(|| format!("expected whole milliseconds from 1 to {} such as 20", u32::MAX))
}

/// Any number, decimal or hexadecimal.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    // `from_str_radix` takes a sign, too.
    let digits = hexadecimal.unwrap_or(text);
    let number = match (digits.starts_with('+'), hexadecimal) {
        (true, _) => None,
        (false, Some(digits)) => u64::from_str_radix(digits, 16).ok(),
        (false, None) => digits.parse().ok(),
    };
    number.ok_or_else(|| "expected a number of up to 64 bits such as 42 or 0x2a".to_owned())
}

/// A time in seconds, fractions allowed.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok();
    number
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected seconds such as 5 or 0.25".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("64k"), Ok(65536));
        assert_eq!(bytes("2G"), Ok(2 << 30));
        for wrong in ["", "0", "K", "-1", "1.5M", "1MB", "99999999999G", "é"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number("42"), Ok(42));
        assert_eq!(number("0x2a"), Ok(42));
        assert_eq!(number("0XFFFFFFFFFFFFFFFF"), Ok(u64::MAX));
        for wrong in ["", "-1", "+1", "0x", "0x+1", "2a", "18446744073709551616", "0x10000000000000000"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(milliseconds("20"), Ok(Duration::from_millis(20)));
        for wrong in ["", "0", "-1", "0.5", "20ms", "4294967296"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("3"), Ok(Duration::from_secs(3)));
        for wrong in ["", "-1", "NaN", "inf", "1e99", "3s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
