//! Which of a command's streams were chosen.

use std::process::Stdio;

/// Which part of the program has decided about a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stream {
    /// None: it is the one of this process, unless a converted command says otherwise.
    Default,
    /// The caller.
    Chosen,
    /// A call of `output`, which another call may undo.
    Captured,
}

/// What a stream is that was not chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unchosen {
    Inherited,
    Captured,
}

impl Stream {
    /// Whether the stream is to be set for a start; notes that it was.
    pub(super) fn takes(&mut self, unchosen: Unchosen) -> bool {
        match (*self, unchosen) {
            (Stream::Chosen, _) | (Stream::Default, Unchosen::Inherited) => false,
            (_, Unchosen::Captured) => {
                *self = Stream::Captured;
                true
            }
            (Stream::Captured, Unchosen::Inherited) => {
                *self = Stream::Default;
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
