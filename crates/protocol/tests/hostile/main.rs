//! The fuzz targets' entry points on a hundred thousand mutated inputs, the same ones every time.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says on what")]

mod entry;

/// Inputs in all, shared by the entry points.
const INPUTS: usize = 100_000;

/// Marsaglia's xorshift64*: reproducible, and good enough to mutate with.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % sides
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }

    fn mutate(&mut self, input: &mut Vec<u8>, others: &[&[u8]]) {
        let at = self.roll(input.len() + 1);
        match self.roll(7) {
            0 => input.insert(at, self.byte()),
            1 => input.truncate(at),
            2 => input.extend((0..self.roll(20)).map(|_| self.byte()).collect::<Vec<_>>()),
            3 => {
                let other = others[self.roll(others.len())];
                let cut = self.roll(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[cut..]);
            }
            4 if at < input.len() => {
                let copied = input[at..].to_vec();
                input.extend(copied);
                input.truncate(400);
            }
            _ if at < input.len() => {
                input[at] = if self.roll(2) == 0 { self.byte() } else { input[at] ^ (1 << self.roll(8)) }
            }
            _ => input.push(self.byte()),
        }
    }
}

fn mutated(target: &str, entry: fn(&[u8])) {
    let seeds = entry::seeds();
    let seeds: Vec<_> =
        seeds.iter().filter(|(of, _)| *of == target).map(|(_, seed)| seed.as_slice()).collect();
    seeds.iter().for_each(|seed| entry(seed));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..INPUTS / 4 {
        let mut input = seeds[dice.roll(seeds.len())].to_vec();
        for _ in 0..=dice.roll(6) {
            dice.mutate(&mut input, &seeds);
        }
        let result = std::panic::catch_unwind(|| entry(&input));
        if let Err(panic) = result {
            eprintln!("{target} fails on {input:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn host_receive() {
    mutated("host_receive", entry::host_receive);
}

#[test]
fn guest_receive() {
    mutated("guest_receive", entry::guest_receive);
}

#[test]
fn header() {
    mutated("header", entry::header);
}

#[test]
fn messages() {
    mutated("messages", entry::messages);
}
