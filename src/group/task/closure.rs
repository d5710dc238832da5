//! The closure of a task.

/// The closure of a task, and the value that the task keeps until its outcome is known.
pub(crate) trait Closure<T, E>: Send {
    /// A value that the group drops after the outcome has been recorded.
    type Belongings;

    /// Runs the closure. It stores its belongings in `kept` before it runs user code, so that they
    /// are there after a panic, too.
    fn run(self, kept: &mut Option<Self::Belongings>) -> Result<T, E>;
}

impl<T, E, F> Closure<T, E> for F
where
    F: FnOnce() -> Result<T, E> + Send,
{
    /// None: the captured values are dropped when the closure returns.
    type Belongings = ();

    #[inline]
    fn run(self, _kept: &mut Option<()>) -> Result<T, E> {
        self()
    }
}

/// A closure that borrows the value that its task was given.
pub(crate) struct WithValue<V, F> {
    pub(crate) value: V,
    pub(crate) closure: F,
}

impl<T, E, V, F> Closure<T, E> for WithValue<V, F>
where
    V: Send,
    F: FnOnce(&mut V) -> Result<T, E> + Send,
{
    type Belongings = V;

    fn run(self, kept: &mut Option<V>) -> Result<T, E> {
        (self.closure)(kept.insert(self.value))
    }
}
