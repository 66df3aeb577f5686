//! [`portions`]: more paths or entries than one request can name.

/// Bytes of paths or entries that one request takes; a message has room for twice as many.
const REQUEST_BYTES: usize = 512 << 10;

/// Splits items so that each part fits into one request.
pub(super) fn portions<T>(items: Vec<T>, length: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    /// What an item takes besides its own length.
    const FRAME_BYTES: usize = 8;
    let (mut portions, mut bytes) = (Vec::<Vec<T>>::new(), 0);
    for item in items {
        bytes += length(&item) + FRAME_BYTES;
        match portions.last_mut() {
            Some(portion) if bytes <= REQUEST_BYTES => portion.push(item),
            _ => {
                bytes = length(&item) + FRAME_BYTES;
                portions.push(vec![item]);
            }
        }
    }
    portions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_of_a_bounded_size() {
        let items = vec![vec![0_u8; 100_000]; 30];
        let parts = portions(items, Vec::len);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 5, 5, 5, 5]);
        assert!(portions(Vec::<Vec<u8>>::new(), Vec::len).is_empty());
        assert_eq!(portions(vec![vec![0_u8; 600_000]; 2], Vec::len).len(), 2);
    }
}
