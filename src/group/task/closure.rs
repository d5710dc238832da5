//! What a task runs.

/// The closure of a task, and what the task was given to keep until its outcome is known.
pub(crate) trait Closure<T, E>: Send {
    /// What the group drops after the outcome has been recorded.
    type Belongings;

    /// Runs the closure. It leaves its belongings in `kept` before it runs anything of the user's,
    /// so that a panic leaves them there too.
    fn run(self, kept: &mut Option<Self::Belongings>) -> Result<T, E>;
}

impl<T, E, F> Closure<T, E> for F
where
    F: FnOnce() -> Result<T, E> + Send,
{
    /// Nothing: what the closure captured is dropped as it returns.
    type Belongings = ();

    #[inline]
    fn run(self, _kept: &mut Option<()>) -> Result<T, E> {
        self()
    }
}

/// A closure that borrows the value that its task was given.
pub(crate) struct With<V, F> {
    pub(crate) value: V,
    pub(crate) closure: F,
}

impl<T, E, V, F> Closure<T, E> for With<V, F>
where
    V: Send,
    F: FnOnce(&mut V) -> Result<T, E> + Send,
{
    type Belongings = V;

    fn run(self, kept: &mut Option<V>) -> Result<T, E> {
        (self.closure)(kept.insert(self.value))
    }
}
