//! Ranges of lines as they are written on the command line: `FIRST:LAST`, `FIRST:` or `LINE`.

/// Lines, counted from 1, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LineRange {
    pub(super) first: u64,
    /// None: to the end.
    pub(super) last: Option<u64>,
}

impl LineRange {
    /// Reads a range.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| "write it as FIRST:LAST".to_owned());
        let range = match text.split_once(':') {
            Some((first, "")) => Self { first: number(first)?, last: None },
            Some((first, last)) => Self { first: number(first)?, last: Some(number(last)?) },
            None => Self { first: number(text)?, last: Some(number(text)?) },
        };
        if range.first == 0 {
            return Err("lines are counted from 1".to_owned());
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        for (text, first, last) in
            [("3:5", 3, Some(5)), ("3:", 3, None), ("7", 7, Some(7)), ("4:3", 4, Some(3))]
        {
            assert_eq!(LineRange::parse(text), Ok(LineRange { first, last }), "{text}");
        }
        for bad in ["", ":", ":3", "0:3", "a:b", "1:2:3", "-1"] {
            assert!(LineRange::parse(bad).is_err(), "{bad}");
        }
    }
}
