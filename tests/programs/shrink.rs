//! Makes a failing program small, by making its list of choices short and its numbers low.
//!
//! Any list of choices is a program that ends, so there is nothing to check but whether it still
//! fails.

/// The smallest list that `fails`, as far as `tries` go.
pub fn shrink(
    choices: Vec<u32>,
    mut tries: usize,
    mut fails: impl FnMut(&[u32]) -> bool,
) -> Vec<u32> {
    let mut best = choices;
    let mut try_one = |best: &mut Vec<u32>, candidate: Vec<u32>| {
        if tries == 0 || candidate == *best {
            return false;
        }
        tries -= 1;
        let smaller = fails(&candidate);
        if smaller {
            *best = candidate;
        }
        smaller
    };
    loop {
        let before = best.clone();
        // Leave out a piece, or make it the plainest.
        let mut length = best.len().next_power_of_two();
        while length > 0 {
            let mut at = 0;
            while at < best.len() {
                let end = (at + length).min(best.len());
                let without = [&best[..at], &best[end..]].concat();
                let mut plain = best.clone();
                plain[at..end].fill(0);
                if !try_one(&mut best, without) {
                    try_one(&mut best, plain);
                    at += length;
                }
            }
            length /= 2;
        }
        // Choices after the end are zeros.
        while best.last() == Some(&0) {
            best.pop();
        }
        if best == before {
            return best;
        }
    }
}
