//! Pax records: `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record, so values may hold anything.

use crate::attributes::Time;

/// What a pax header says of the member that follows, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    /// GNU's map of holes, which we do not read.
    pub(super) is_sparse: bool,
}

impl Records {
    /// Reads the contents of a pax header; `None` if they are malformed.
    pub(super) fn parse(mut rest: &[u8]) -> Option<Self> {
        let mut records = Self::default();
        while rest.first().is_some_and(|byte| *byte != 0) {
            let space = rest.iter().position(|byte| *byte == b' ')?;
            let length: usize = text(&rest[..space])?.parse().ok()?;
            let record = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            records.take(&record[..equals], &record[equals + 1..])?;
            rest = &rest[length..];
        }
        Some(records)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        // An empty value takes an earlier one back.
        let is_empty = value.is_empty();
        match key {
            b"path" => self.path = (!is_empty).then(|| value.to_vec()),
            b"linkpath" => self.link_target = (!is_empty).then(|| value.to_vec()),
            b"size" => self.size = if is_empty { None } else { Some(number(value)?) },
            b"uid" => self.uid = if is_empty { None } else { Some(number(value)?.try_into().ok()?) },
            b"gid" => self.gid = if is_empty { None } else { Some(number(value)?.try_into().ok()?) },
            b"mtime" => self.mtime = if is_empty { None } else { Some(time(value)?) },
            key if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
            _ => {}
        }
        Some(())
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn number(value: &[u8]) -> Option<u64> {
    if value.iter().all(u8::is_ascii_digit) { text(value)?.parse().ok() } else { None }
}

/// Decimal seconds with an optional sign and fraction; digits after the ninth are dropped.
fn time(value: &[u8]) -> Option<Time> {
    let (is_negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(number(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    Some(match (is_negative, nanoseconds) {
        (false, nanoseconds) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, nanoseconds) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// Collects records for a header.
#[derive(Debug, Default)]
pub(super) struct Builder(Vec<u8>);

impl Builder {
    pub(super) fn add(&mut self, key: &str, value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        // The length counts its own digits.
        let mut digits = 1;
        while digits_of(rest + digits) != digits {
            digits += 1;
        }
        self.0.extend_from_slice(format!("{} {key}=", rest + digits).as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    pub(super) fn add_time(&mut self, key: &str, time: Time) {
        let text = match (time.seconds, time.nanoseconds) {
            (seconds, 0) => seconds.to_string(),
            (seconds @ 0.., nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
            // Seconds are rounded down, so the fraction counts backwards from the next one.
            (seconds, nanoseconds) => {
                format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
            }
        };
        self.add(key, text.as_bytes());
    }

    /// The contents of the header, if there is anything to say.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

fn digits_of(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 80, 91, 92, 93, 94, 990, 4095] {
            let path = [b"\n=\xff ".as_slice(), &vec![b'x'; length]].concat();
            let mut builder = Builder::default();
            builder.add("path", &path);
            builder.add("size", b"8589934592");
            let records = Records::parse(&builder.finish().unwrap()).unwrap();
            assert_eq!((records.path, records.size), (Some(path), Some(1 << 33)), "{length}");
        }
    }

    #[test]
    fn times_before_1970_too() {
        for (seconds, nanoseconds) in
            [(5, 0), (5, 7), (0, 999_999_999), (-1, 1), (-1, 500_000_000), (-7, 0), (-8, 9)]
        {
            let time = Time { seconds, nanoseconds };
            let mut builder = Builder::default();
            builder.add_time("mtime", time);
            assert_eq!(Records::parse(&builder.finish().unwrap()).unwrap().mtime, Some(time));
        }
        assert_eq!(super::time(b"1.23"), Some(Time { seconds: 1, nanoseconds: 230_000_000 }));
        assert_eq!(super::time(b"1.1234567899"), Some(Time { seconds: 1, nanoseconds: 123_456_789 }));
        assert_eq!((super::time(b"+1"), super::time(b"1.x"), super::time(b"")), (None, None, None));
    }

    #[test]
    fn malformed_records() {
        for bad in
            ["5 a=b", "x a=b\n", "0 a=b\n", "99 a=b\n", "6 ab=c\n", "6 abc\n", "11 size=-1\n", "3 \n", "1 "]
        {
            assert_eq!(Records::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Records::parse(b"9 path=a\n8 path=\n"), Some(Records::default()));
    }
}
