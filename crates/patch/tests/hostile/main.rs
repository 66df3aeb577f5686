//! The fuzz target's entry point on mutated inputs, the same ones every time.

mod entry;

/// Inputs in all.
const INPUTS: usize = 60_000;

/// Pieces that patches are made of: a mutation puts one in at any place.
const PIECES: [&[u8]; 24] = [
    b"--- a/x\n",
    b"+++ b/x\n",
    b"--- ",
    b"+++ ",
    b"@@ -1 +1 @@\n",
    b"@@ -0,0 +1,2 @@\n",
    b"@@ -4294967295,9 +1 @@\n",
    b"diff --git ",
    b"rename from x\n",
    b"rename to y\n",
    b"/dev/null\n",
    b"\\ No newline at end of file\n",
    b"\n",
    b"\r\n",
    b"-- \n",
    b"\"\\303\\251\"",
    b"../",
    b"/workspace/",
    b"new file mode 100755\n",
    b" ",
    b"-",
    b"+",
    b"\0",
    b"Binary files a/x and b/x differ\n",
];

/// Marsaglia's xorshift64*: reproducible, and good enough to mutate with.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap_or(0) % sides
    }

    fn mutate(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        let at = self.roll(input.len() + 1);
        match self.roll(6) {
            0 => drop(input.splice(at..at, PIECES[self.roll(PIECES.len())].iter().copied())),
            1 => {
                let end = (at + self.roll(12)).min(input.len());
                drop(input.drain(at..end));
            }
            2 => {
                let other = &others[self.roll(others.len())];
                input.truncate(at);
                input.extend_from_slice(&other[self.roll(other.len())..]);
            }
            3 => {
                // A line twice.
                let start =
                    input[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
                let end = input[at..]
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(input.len(), |end| at + end + 1);
                let line = input[start..end].to_vec();
                drop(input.splice(end..end, line));
            }
            4 if at < input.len() => input[at] = b"0123456789 +-@\\\n\r\t"[self.roll(18)],
            _ if at < input.len() => input[at] ^= 1 << self.roll(8),
            _ => input.push(b'\n'),
        }
    }
}

#[test]
fn patch_parse() {
    let seeds = entry::seeds();
    seeds.iter().for_each(|seed| entry::patch_parse(seed));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..INPUTS {
        let mut input = seeds[dice.roll(seeds.len())].clone();
        for _ in 0..=dice.roll(8) {
            dice.mutate(&mut input, &seeds);
        }
        if let Err(panic) = std::panic::catch_unwind(|| entry::patch_parse(&input)) {
            eprintln!("fails on \"{}\"", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
    }
}
