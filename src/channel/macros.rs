//! The macro `select!`: a select with a fixed number of cases, which are kept on the stack.
//!
//! It reads the arms one by one. Each arm becomes a tuple of five parts: the name of its case, the
//! expression that borrows its operands, the expression that makes the case of them, its pattern
//! and its body. The name is new each time the macro calls itself. The bodies stand outside of any
//! closure, so that `?`, `break` and `return` in them mean what they mean around the macro.

/// Blocks until one of several sends and receives can be done, and does it.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::channel::{self, select};
///
/// # fn main() -> anyhow::Result<()> {
/// let (jobs, incoming) = channel::unbounded();
/// let (outgoing, _results) = channel::bounded(0);
/// jobs.send(4)?;
///
/// let mut result = Some("done");
/// let text = select! {
///     recv(incoming) -> job => format!("received {}", job?),
///     send(outgoing, &mut result) -> sent => {
///         sent?;
///         String::from("sent")
///     }
///     default(Duration::from_secs(60)) => String::from("nothing for a minute"),
/// }?;
/// assert_eq!((text.as_str(), result), ("received 4", Some("done")));
/// # Ok(())
/// # }
/// ```
///
/// | arm | is chosen | and binds |
/// |---|---|---|
/// | `recv(receiver) -> message => ..` | when there is a message, or no sender | `Result<T, Disconnected>` |
/// | `send(sender, message) -> sent => ..` | when there is room, or no receiver | `Result<(), Disconnected>` |
/// | `cancelled(token) -> why => ..` | when this token is cancelled | [`Cancelled`](crate::Cancelled) |
/// | `default => ..` | if no other arm can be chosen at once | |
/// | `default(duration) => ..` | if no other arm could be chosen within this time | |
/// | `default(deadline) => ..` | if no other arm could be chosen until this `Instant` | |
///
/// The operand of a `recv` is a receiver, or an `Option` of a receiver or of a reference to one.
/// While it is `None` the arm is never chosen: `recv(has_room.then_some(&receiver)) -> message =>
/// ..` receives only if there is room. A receiver of [`after`](crate::channel::after) or
/// [`tick`](crate::channel::tick) waits for the clock.
///
/// Receivers, senders and tokens are borrowed. If several arms can be chosen, each is equally
/// likely. All bodies have one type. `?`, `break` and `return` in them mean what they mean around
/// the macro.
///
/// The message of a `send` is a `&mut Option<T>`. The message is taken out when it is sent, and
/// stays there otherwise, whatever the outcome of the select. While it is `None` the arm is never
/// chosen. Write `&mut Some(message)` for a message that may be dropped.
///
/// # Cancellation
///
/// A blocking point, also with a `default`, so that a loop around it ends. The value is a
/// `Result<_, Cancelled>`, and the cancel of the current scope is its `Err`. It is not an arm, so
/// that no select can forget it: a select with an unused value does not compile, or causes a
/// warning. If it fails, nothing was received or sent. An operation that was done while the scope
/// was being cancelled counts as done.
///
/// # Errors
///
/// Fails if the scope is cancelled.
///
/// ```
/// use taskgroup::channel::{self, select};
/// use taskgroup::TaskGroup;
///
/// # fn main() -> anyhow::Result<()> {
/// let ((readings, incoming), (display, shown)) = (channel::bounded(4), channel::bounded(0));
/// let last = TaskGroup::scope(|g| {
///     g.spawn(move || Ok((1..=100).try_for_each(|n| readings.send(n))?));
///     g.spawn(move || {
///         // A display that is slow gets the latest reading, not all of them.
///         let mut latest = None;
///         loop {
///             select! {
///                 recv(incoming) -> reading => match reading {
///                     Ok(reading) => latest = Some(reading),
///                     Err(_) => break,
///                 },
///                 send(display, &mut latest) -> sent => sent?,
///             }?;
///         }
///         Ok(latest.into_iter().try_for_each(|reading| display.send(reading))?)
///     });
///     Ok(shown.iter().last().transpose()?)
/// })?;
/// assert_eq!(last, Some(100));
/// # Ok(())
/// # }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // A `default`, with each way in which its body can end.
    //
    // Expressions come before blocks: the body may be an expression that a caller's macro has
    // matched, and matching that against a block is an error and not a mismatch.
    (@arm [$($cases:tt)*] [] default $(($limit:expr $(,)?))? => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@arm [$($cases)*] [($($limit)?) ($body)] $($rest)*)
    };
    (@arm [$($cases:tt)*] [] default $(($limit:expr $(,)?))? => $body:expr) => {
        $crate::__select!(@arm [$($cases)*] [($($limit)?) ($body)])
    };
    (@arm [$($cases:tt)*] [] default $(($limit:expr $(,)?))? => $body:block $($rest:tt)*) => {
        $crate::__select!(@arm [$($cases)*] [($($limit)?) ($body)] $($rest)*)
    };
    (@arm $cases:tt [$($default:tt)+] default $($rest:tt)*) => {
        ::core::compile_error!("a select has one `default` at most")
    };

    // Any other arm, likewise.
    (
        @arm $cases:tt $default:tt
        $kind:ident $operands:tt -> $pattern:pat => $body:expr, $($rest:tt)*
    ) => {
        $crate::__select!(@$kind $operands case $cases $default ($pattern) ($body) $($rest)*)
    };
    (
        @arm $cases:tt $default:tt
        $kind:ident $operands:tt -> $pattern:pat => $body:expr
    ) => {
        $crate::__select!(@$kind $operands case $cases $default ($pattern) ($body))
    };
    (
        @arm $cases:tt $default:tt
        $kind:ident $operands:tt -> $pattern:pat => $body:block $($rest:tt)*
    ) => {
        $crate::__select!(@$kind $operands case $cases $default ($pattern) ($body) $($rest)*)
    };

    (
        @recv ($receiver:expr $(,)?) $case:ident [$($cases:tt)*] $default:tt
        $pattern:tt $body:tt $($rest:tt)*
    ) => {
        $crate::__select!(@arm
            [$($cases)* (
                $case
                (&$receiver)
                ({ use $crate::channel::parts::Receives as _; $case.__recv_case() })
                $pattern $body
            )]
            $default $($rest)*
        )
    };
    (
        @send ($sender:expr, $message:expr $(,)?) $case:ident [$($cases:tt)*] $default:tt
        $pattern:tt $body:tt $($rest:tt)*
    ) => {
        $crate::__select!(@arm
            [$($cases)* (
                $case
                (&$sender, $message)
                ($crate::channel::parts::SendCase::new($case.0, $case.1))
                $pattern $body
            )]
            $default $($rest)*
        )
    };
    (
        @cancelled ($token:expr $(,)?) $case:ident [$($cases:tt)*] $default:tt
        $pattern:tt $body:tt $($rest:tt)*
    ) => {
        $crate::__select!(@arm
            [$($cases)* (
                $case
                (&$token)
                ($crate::channel::parts::CancelledCase::new($case))
                $pattern $body
            )]
            $default $($rest)*
        )
    };

    (@arm
        [$(($case:ident ($($operands:tt)*) ($made:expr) ($pattern:pat) ($body:expr)))+]
        [$(($($limit:expr)?) ($otherwise:expr))?]
    ) => {{
        // The `match` keeps temporaries of the operands until the select is over, and no longer.
        let (outcome, $($case),+) = match ($(($($operands)*),)+) {
            ($($case,)+) => {
                $(let mut $case = $made;)+
                let patience = $crate::__select!(@patience $(($($limit)?))?);
                let outcome = $crate::channel::parts::select(&mut [$($case.erase()),+], patience);
                (outcome, $($case.take()),+)
            }
        };
        // If all bodies leave the code around the select, no value is left to be wrapped.
        #[allow(unreachable_code)]
        let value = match outcome {
            ::core::result::Result::Ok(true) => ::core::result::Result::Ok(
                $(if let ::core::option::Option::Some(output) = $case {
                    let $pattern = output;
                    $body
                } else)+ {
                    ::core::unreachable!("one of the cases was done")
                }
            ),
            ::core::result::Result::Ok(false) => $crate::__select!(@otherwise $($otherwise)?),
            ::core::result::Result::Err(cancelled) => {
                ::core::result::Result::Err::<_, $crate::Cancelled>(cancelled)
            }
        };
        value
    }};
    (@arm [] $default:tt) => {
        ::core::compile_error!("a select needs a `recv`, a `send` or a `cancelled`")
    };

    (@patience) => { $crate::channel::parts::SelectPatience::Unlimited };
    (@patience ()) => { $crate::channel::parts::SelectPatience::None };
    (@patience ($limit:expr)) => { $crate::channel::parts::SelectPatience::from($limit) };
    (@otherwise) => { ::core::unreachable!("the wait has no limit") };
    (@otherwise $otherwise:expr) => { ::core::result::Result::Ok($otherwise) };

    (@$($wrong:tt)*) => {
        ::core::compile_error!(
            "the arms of a select are `recv(r) -> x => ..`, `send(s, &mut message) -> x => ..`, \
             `cancelled(t) -> x => ..`, `default => ..` and `default(duration or deadline) => ..`"
        )
    };
    ($($arms:tt)*) => {
        $crate::__select!(@arm [] [] $($arms)*)
    };
}
