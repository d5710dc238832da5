//! Where the choices of a program come from.

/// Where choices come from: a list, and after its end a seed or zeros.
pub struct Choices {
    given: Vec<u32>,
    next: usize,
    state: Option<u64>,
}

impl Choices {
    pub fn of_seed(seed: u64) -> Self {
        Choices {
            given: Vec::new(),
            next: 0,
            state: Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d),
        }
    }

    pub fn of_list(given: Vec<u32>) -> Self {
        Choices {
            given,
            next: 0,
            state: None,
        }
    }

    /// The choices that have been made.
    pub fn made(mut self) -> Vec<u32> {
        self.given.truncate(self.next);
        self.given
    }

    /// A number below `bound`; zero is the plainest choice.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        if self.next == self.given.len() {
            let drawn = match &mut self.state {
                // splitmix64.
                Some(state) => {
                    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mut z = *state;
                    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    (z ^ (z >> 31)) as u32 >> 1
                }
                None => 0,
            };
            self.given.push(drawn % bound as u32);
        }
        self.next += 1;
        self.given[self.next - 1] as usize % bound
    }

    /// Whether something comes true that does so `in_hundred` times of a hundred.
    pub(super) fn chance(&mut self, in_hundred: usize) -> bool {
        self.below(100) >= 100 - in_hundred
    }

    /// One of these, each as often as its number says.
    pub(super) fn weighed<T: Copy>(&mut self, of: &[(usize, T)]) -> T {
        let mut left = self.below(of.iter().map(|(weight, _)| weight).sum());
        for (weight, one) in of {
            match left.checked_sub(*weight) {
                None => return *one,
                Some(rest) => left = rest,
            }
        }
        of[0].1
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
