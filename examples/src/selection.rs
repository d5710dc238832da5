use std::collections::BTreeSet;

use clap::{Args, builder::RangedU64ValueParser};

use crate::{COUNTRIES, POPULOUS};

/// The selection of flags to download, as arguments of a program.
#[derive(Debug, Args)]
pub struct Selection {
    /// Codes of countries, or first letters of codes [default: the 20 most populous countries]
    #[arg(value_parser = codes_of)]
    codes: Vec<Vec<String>>,
    /// All countries
    #[arg(short, long)]
    all: bool,
    /// Every code from AA to ZZ
    #[arg(short, long)]
    every: bool,
    /// No more than N flags
    #[arg(
        short,
        long,
        value_name = "N",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..),
    )]
    limit: Option<usize>,
}

impl Selection {
    /// Returns the selected codes, in the order of the alphabet: at least one.
    pub fn codes(&self) -> Vec<String> {
        let codes: BTreeSet<String> = match self {
            Selection { every: true, .. } => ('A'..='Z')
                .flat_map(|first| starting_with(&first.to_string()))
                .collect(),
            Selection { all: true, .. } => COUNTRIES.map(String::from).into(),
            Selection { codes, .. } if codes.is_empty() => POPULOUS.map(String::from).into(),
            Selection { codes, .. } => codes.concat().into_iter().collect(),
        };

        codes
            .into_iter()
            .take(self.limit.unwrap_or(usize::MAX))
            .collect()
    }
}

/// Returns the codes that `word` stands for: itself, or all codes that begin with it.
fn codes_of(word: &str) -> Result<Vec<String>, &'static str> {
    let word = word.to_ascii_uppercase();
    match word.as_bytes() {
        [b'A'..=b'Z', b'A'..=b'Z'] => Ok(vec![word]),
        [b'A'..=b'Z'] => Ok(starting_with(&word)),
        _ => Err("a code is two letters, a first letter is one"),
    }
}

fn starting_with(letter: &str) -> Vec<String> {
    ('A'..='Z')
        .map(|second| format!("{letter}{second}"))
        .collect()
}
