//! Names in C quotes, as git writes and reads odd ones (`core.quotePath`).

/// Appends `prefix` and `name`: as they are, or, if any byte is a control character, a quote, a backslash or not
/// ASCII, in double quotes with escapes.
pub(crate) fn append(out: &mut Vec<u8>, prefix: &[u8], name: &[u8]) {
    let bytes = || prefix.iter().chain(name);
    if !bytes().any(|byte| is_odd(*byte)) {
        out.extend(bytes());
        return;
    }
    out.push(b'"');
    for byte in bytes() {
        match (byte, letter(*byte)) {
            (_, Some(letter)) => out.extend([b'\\', letter]),
            (byte, None) if is_odd(*byte) => out.extend(format!("\\{byte:03o}").into_bytes()),
            (byte, None) => out.push(*byte),
        }
    }
    out.push(b'"');
}

fn is_odd(byte: u8) -> bool {
    !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\'
}

const LETTERS: [(u8, u8); 9] = [
    (0x07, b'a'),
    (0x08, b'b'),
    (b'\t', b't'),
    (b'\n', b'n'),
    (0x0b, b'v'),
    (0x0c, b'f'),
    (b'\r', b'r'),
    (b'"', b'"'),
    (b'\\', b'\\'),
];

fn letter(byte: u8) -> Option<u8> {
    LETTERS.iter().find(|(escaped, _)| *escaped == byte).map(|(_, letter)| *letter)
}

/// Reads a quoted name at the start of `text`. Gives the name and what follows the closing quote; `None` if
/// `text` does not begin with a well-formed quoted name.
pub(crate) fn read(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut name = Vec::new();
    loop {
        match rest {
            [b'"', after @ ..] => return Some((name, after)),
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', after @ ..] => {
                name.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                rest = after;
            }
            [b'\\', escape, after @ ..] => {
                name.push(LETTERS.iter().find(|(_, letter)| letter == escape)?.0);
                rest = after;
            }
            [byte, after @ ..] => {
                name.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(name: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, b"a/", name);
        out
    }

    #[test]
    fn plain_names_and_names_with_spaces_stay() {
        assert_eq!(quoted(b"src/a b.rs"), b"a/src/a b.rs");
    }

    #[test]
    fn odd_bytes_are_escaped() {
        assert_eq!(quoted("é\t\"\\\n\x01\x7f".as_bytes()), br#""a/\303\251\t\"\\\n\001\177""#);
    }

    #[test]
    fn every_byte_comes_back() {
        let name: Vec<u8> = (1..=255).collect();
        let quoted = quoted(&name);
        let (read, rest) = read(&quoted).unwrap();
        assert_eq!((&read[2..], rest), (name.as_slice(), &b""[..]));
    }

    #[test]
    fn broken_quotes_are_refused() {
        for broken in [&b"name"[..], b"\"open", b"\"\\", b"\"\\q\"", b"\"\\40\"", b"\"\\400\""] {
            assert_eq!(read(broken), None, "{}", broken.escape_ascii());
        }
    }
}
