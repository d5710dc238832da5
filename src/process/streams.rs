//! Which of a command's streams were chosen.

use std::process::Stdio;

/// Which part of the program has decided about a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StreamChoice {
    /// None: it is this process's, unless a converted command says otherwise.
    Default,
    /// The caller.
    Chosen,
    /// A call of `output`, which another call may undo.
    Captured,
}

/// The default for a stream that was not chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unchosen {
    Inherited,
    Captured,
}

impl StreamChoice {
    /// Whether the stream is to be set for a start; notes that it was.
    pub(super) fn takes(&mut self, unchosen: Unchosen) -> bool {
        match (*self, unchosen) {
            // The caller's choice holds for all calls. A default stays untouched, so that the
            // choice of a converted command is kept.
            (StreamChoice::Chosen, _) | (StreamChoice::Default, Unchosen::Inherited) => false,
            (_, Unchosen::Captured) => {
                *self = StreamChoice::Captured;
                true
            }
            // The pipe of an earlier `output` is still set, so it is taken back.
            (StreamChoice::Captured, Unchosen::Inherited) => {
                *self = StreamChoice::Default;
                true
            }
        }
    }
}

impl Unchosen {
    pub(super) fn or_inherited(self, captured: fn() -> Stdio) -> Stdio {
        match self {
            Unchosen::Captured => captured(),
            Unchosen::Inherited => Stdio::inherit(),
        }
    }
}
