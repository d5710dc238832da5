use std::{fmt, time::Duration};

use clap::{Args, ValueEnum};

use crate::Answer;

/// A site of flags that behaves well or badly, as arguments of a program. All its randomness
/// follows from its seed.
#[derive(Debug, Clone, Args)]
pub struct Site {
    /// How the server behaves
    #[arg(
        id = "server",
        short,
        long,
        ignore_case = true,
        default_value = "LOCAL"
    )]
    behaviour: Behaviour,
    /// How long a slow server takes for an answer, on average
    #[arg(long, value_name = "MS", default_value_t = 100)]
    delay_ms: u64,
    /// The seed of the delays and the errors
    #[arg(long, default_value_t = 14)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Behaviour {
    /// Every answer comes at once
    Local,
    /// Every answer takes a while
    Delay,
    /// Every answer takes a while, and one in four is an error
    Error,
}

impl Site {
    /// Returns the answer for the country with this code. A slow answer takes between nothing and
    /// twice the average.
    pub fn answer(&self, code: &str) -> Answer {
        let delay = Duration::from_millis(self.delay_ms).mul_f64(2.0 * self.chance(code, 0));
        match self.behaviour {
            Behaviour::Local => Answer::Flag(Duration::ZERO),
            Behaviour::Error if self.chance(code, 1) < 0.25 => Answer::Error(delay),
            Behaviour::Delay | Behaviour::Error => Answer::Flag(delay),
        }
    }

    /// Returns a number from 0 to 1 that looks random and is always the same: the seed and the
    /// code, mixed as in SplitMix64.
    fn chance(&self, code: &str, draw: u64) -> f64 {
        let key = code.bytes().fold(self.seed, |key, byte| {
            (key << 8) ^ (key >> 56) ^ u64::from(byte)
        });
        let mut bits = key
            .wrapping_mul(2)
            .wrapping_add(draw)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) as f64 / u64::MAX as f64
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.behaviour {
            Behaviour::Local => "LOCAL",
            Behaviour::Delay => "DELAY",
            Behaviour::Error => "ERROR",
        })
    }
}
