//! The context of a thread: its slot, and the scopes it is in.
//!
//! A thread's slot is attached to the node of its innermost scope, lazily: entering a scope pushes
//! a frame, and the first check or wait in it attaches. A task that never blocks never touches the
//! lock of its group's node.
//!
//! | standing | meaning | a check |
//! |---|---|---|
//! | `Outside` | no frame, or a shield on top | is `Ok` |
//! | `Attached` | the slot is attached to the node of the top frame | is one load of the slot's word |
//! | `Stale` | a frame was pushed or popped since, or a task has made its node | attaches first |
//!
//! A destructor of a thread-local that runs after that of `CONTEXT` finds another context in
//! `LATE`, which lasts while a scope is entered or a call uses it. Such a destructor begins outside
//! of any scope. Each context has a slot of its own, so threads are compared by `identity` or by
//! their unparkers, never by their slots.
//!
//! A task that is run in place has a frame only once it has asked for a node of its own: until then
//! its scope is that of the frame below, and nothing of the above changes.

use std::cell::{Cell, OnceCell, RefCell};
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
#[cfg(debug_assertions)]
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Cancelled;
use super::node::{Attachment, Node};
use crate::facade::{self, Late, local};
use crate::waiting::{Point, Slot, Woken};
use crate::workers::{InPlace, Refusal};

local! {
    static CONTEXT: Context = Context::new();
}

local! {
    // The number of locks of this crate that the thread holds. Apart from the context, so that it
    // costs one instruction.
    static LOCKS: Cell<usize> = Cell::new(0);
}

#[cfg(debug_assertions)]
local! {
    // The number of the task that runs on this thread, the innermost; zero outside of any task.
    static ERRAND: Cell<u64> = Cell::new(0);
}

local! {
    // Stands in for `CONTEXT` in the destructors that run after that of `CONTEXT`.
    static LATE: Late<Context> = Late::new();
}

local! {
    // Its address tells this thread from every other, also in the last destructor, since it has
    // none itself.
    static HERE: Cell<u8> = Cell::new(0);
}

struct Context {
    standing: Cell<Standing>,
    slot: OnceCell<Arc<Slot>>,
    attachment: RefCell<Option<Attachment>>,
    frames: RefCell<Vec<Frame>>,
    /// How many frames there were when the task that runs in place began, the innermost of those;
    /// none is 0.
    in_place: Cell<usize>,
    /// Slots for regions with a hook, kept for the next.
    spare: RefCell<Vec<Arc<Slot>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Outside,
    Attached,
    Stale,
}

/// A scope that a thread is in.
enum Frame {
    Node(Arc<Node>),
    /// A task that has no handle: nobody but itself can ask for a node of its own, which is kept
    /// here.
    Task {
        base: Arc<Node>,
        own: Option<Arc<Node>>,
    },
    /// A task that can be cancelled by itself: its node is made when something asks for it.
    Lazy(LazyTask),
    /// A shield.
    Clear,
}

/// A task that makes its own node when something asks for it.
pub(crate) trait OwnNode: Send + Sync {
    /// Returns the node of the task, which the first call makes.
    fn own_node(&self) -> Arc<Node>;
}

/// A task that a thread runs, as its frame holds it.
pub(crate) type LazyTask = Arc<dyn OwnNode>;

/// How a wait ended that was not cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The condition holds.
    Ready,
    /// The limit of the wait has passed.
    TimedOut,
}

impl Context {
    const fn new() -> Self {
        Context {
            standing: Cell::new(Standing::Outside),
            slot: OnceCell::new(),
            attachment: RefCell::new(None),
            frames: RefCell::new(Vec::new()),
            in_place: Cell::new(0),
            spare: RefCell::new(Vec::new()),
        }
    }

    fn slot(&self) -> &Arc<Slot> {
        self.slot.get_or_init(Slot::new)
    }

    /// The node of the innermost scope. In a task without a handle that is the node of its group,
    /// until the task has one of its own.
    fn node(&self) -> Option<Arc<Node>> {
        let lazy = match self.frames.borrow().last()? {
            Frame::Node(node) => return Some(node.clone()),
            Frame::Task { base, own } => return Some(own.as_ref().unwrap_or(base).clone()),
            Frame::Clear => return None,
            Frame::Lazy(lazy) => lazy.clone(),
        };
        Some(lazy.own_node())
    }

    /// As `node`; in a task, the node of the task itself, which is made here where there is none.
    fn own_node(&self) -> Option<Arc<Node>> {
        let node = self.node()?;
        let in_place = self.in_place.get() == self.frames.borrow().len();
        if !in_place
            && !matches!(
                self.frames.borrow().last(),
                Some(Frame::Task { own: None, .. })
            )
        {
            return Some(node);
        }
        let made = Node::of_task(&node);
        let mut frames = self.frames.borrow_mut();
        match frames.last_mut() {
            Some(Frame::Task { own, .. }) if !in_place => *own = Some(made.clone()),
            _ => frames.push(Frame::Task {
                base: node,
                own: Some(made.clone()),
            }),
        }
        // The slot is attached to the node of the group, if to any.
        self.standing.set(Standing::Stale);
        Some(made)
    }

    #[inline]
    fn push(&self, frame: Frame) {
        self.standing.set(if matches!(frame, Frame::Clear) {
            Standing::Outside
        } else {
            Standing::Stale
        });
        self.frames.borrow_mut().push(frame);
    }

    fn pop(&self) {
        let frame = self.frames.borrow_mut().pop();
        let outside = matches!(self.frames.borrow().last(), None | Some(Frame::Clear));
        self.standing.set(if outside {
            Standing::Outside
        } else {
            Standing::Stale
        });
        // A node that has been left must not be held, nor find the slot in its list.
        if !matches!(frame, Some(Frame::Clear)) {
            self.detach();
        }
    }

    fn detach(&self) {
        if let Some(attachment) = self.attachment.take() {
            attachment.detach();
        }
    }

    /// Attaches the slot to the node of the innermost scope; false if there is none.
    fn attach(&self) -> bool {
        match self.standing.get() {
            Standing::Outside => return false,
            Standing::Attached => return true,
            Standing::Stale => {}
        }
        let Some(node) = self.node() else {
            return false;
        };
        let attached = self
            .attachment
            .borrow()
            .as_ref()
            .is_some_and(|attachment| Arc::ptr_eq(attachment.node(), &node));
        if !attached {
            self.detach();
            let attachment = node.attach(self.slot());
            self.attachment.replace(Some(attachment));
        }
        self.standing.set(Standing::Attached);
        true
    }

    /// Blocks until `ready`, until `limit`, or until there is cause to look for a cancel, which is
    /// for the caller to do. As long as there is none, it touches the counts of neither slot nor
    /// node.
    fn wait(
        &self,
        point: Point,
        location: &'static Location<'static>,
        limit: Option<Instant>,
        ready: impl FnMut() -> bool,
    ) -> Woken {
        let slot = self.slot();
        let cancellable = self.attach();
        let until = || {
            if !cancellable || !slot.is_timed() {
                return limit;
            }
            [limit, self.node().and_then(|node| node.next_limit())]
                .into_iter()
                .flatten()
                .min()
        };
        let mut refused = None;
        let woken = slot.wait(point, location, cancellable, until, ready, &mut refused);
        if let Some(refusal) = refused {
            refusal.fail();
        }
        woken
    }

    #[inline]
    fn is_clear(&self) -> bool {
        match self.standing.get() {
            Standing::Outside => true,
            Standing::Attached => self.slot.get().is_some_and(|slot| slot.is_clear()),
            Standing::Stale => false,
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.detach();
    }
}

/// `f` with the context of this thread, which outlives all its thread-locals.
#[inline]
fn with<T>(f: impl FnOnce(&Context) -> T) -> T {
    // Asked for first: kept for the other case, what `f` has captured would go through memory.
    if CONTEXT.try_with(|_| ()).is_ok() {
        CONTEXT.with(f)
    } else if LATE.try_with(|_| ()).is_ok() {
        LATE.with(|late| {
            late.with(
                Context::new,
                |context| context.frames.borrow().is_empty(),
                f,
            )
        })
    } else {
        // In a model, in which threads have no last destructor.
        f(&Context::new())
    }
}

/// The slot of this thread.
pub(crate) fn slot() -> Arc<Slot> {
    with(|context| context.slot().clone())
}

/// A slot for a region with a hook.
pub(super) fn take_spare_slot() -> Arc<Slot> {
    with(|context| context.spare.borrow_mut().pop()).unwrap_or_else(Slot::new)
}

/// Keeps the slot of a region that has ended, for the next.
pub(super) fn keep_spare_slot(slot: Arc<Slot>) {
    with(|context| context.spare.borrow_mut().push(slot));
}

/// What tells this thread from every other that lives.
pub(crate) fn identity() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// The node that what is opened in the innermost scope belongs to.
pub(crate) fn current() -> Option<Arc<Node>> {
    with(Context::node)
}

/// Says that this thread has locked a lock of this crate.
#[inline]
pub(crate) fn lock_taken() {
    // The count has no destructor: it is there for as long as the thread.
    let _ = LOCKS.try_with(|locks| locks.set(locks.get().wrapping_add(1)));
}

/// Says that this thread has unlocked a lock of this crate.
#[inline]
pub(crate) fn lock_released() {
    let _ = LOCKS.try_with(|locks| locks.set(locks.get().wrapping_sub(1)));
}

/// Whether this thread holds a lock of this crate.
///
/// A cancel or a deadline may end the `join` of a thread that holds a lock, and then the thread
/// unlocks. A task that ran in place of that `join` and waited for the lock where no cancel
/// reaches, would wait for ever.
fn holds_lock() -> bool {
    LOCKS.try_with(|locks| locks.get() != 0).unwrap_or(false)
}

/// While it lives, this thread runs one more task.
#[cfg(debug_assertions)]
#[must_use = "the task has ended at once if this is not kept"]
pub(crate) struct Errand {
    before: u64,
}

#[cfg(debug_assertions)]
impl Errand {
    pub(crate) fn begin() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Relaxed);
        Errand {
            before: ERRAND
                .try_with(|errand| errand.replace(number))
                .unwrap_or(0),
        }
    }

    /// The number of the innermost task of this thread, unique in the process; zero outside of any
    /// task.
    pub(crate) fn current() -> u64 {
        ERRAND.try_with(Cell::get).unwrap_or(0)
    }
}

#[cfg(debug_assertions)]
impl Drop for Errand {
    fn drop(&mut self) {
        let _ = ERRAND.try_with(|errand| errand.set(self.before));
    }
}

/// Runs `f`, a task of `node` without a handle, in place: if the innermost scope is that of `node`
/// itself, this thread holds no lock of the crate, and the tasks around it have left enough of the
/// stack.
#[inline]
pub(crate) fn in_place<T>(node: &Arc<Node>, f: impl FnOnce() -> Option<T>) -> Option<T> {
    struct Out<'a> {
        context: &'a Context,
        frames: usize,
        before: usize,
    }
    impl Drop for Out<'_> {
        fn drop(&mut self) {
            // The task has asked for a node of its own.
            if self.context.frames.borrow().len() > self.frames {
                self.context.pop();
            }
            self.context.in_place.set(self.before);
        }
    }

    let run = |context: &Context| {
        let frames = context.frames.borrow();
        let is_current = match frames.last() {
            Some(
                Frame::Node(top)
                | Frame::Task {
                    base: top,
                    own: None,
                },
            ) => Arc::ptr_eq(top, node),
            _ => false,
        };
        let frames_now = frames.len();
        drop(frames);
        if !is_current || holds_lock() {
            return None;
        }
        let _in_place = InPlace::begin()?;
        let _out = Out {
            context,
            frames: frames_now,
            before: context.in_place.replace(frames_now),
        };
        f()
    };
    with(run)
}

/// The node of the innermost scope, to be handed out or marked by itself: in a task, its own.
pub(crate) fn current_own() -> Option<Arc<Node>> {
    with(Context::own_node)
}

/// The node of its own that the innermost task, one without a handle, has made.
pub(crate) fn made_own() -> Option<Arc<Node>> {
    with(|context| match context.frames.borrow().last() {
        Some(Frame::Task { own, .. }) => own.clone(),
        _ => None,
    })
}

/// While it lives, this thread is inside of a scope.
#[must_use = "the scope is left at once if this is not kept"]
pub(crate) struct Inside(PhantomData<*const ()>);

impl Drop for Inside {
    fn drop(&mut self) {
        with(Context::pop);
    }
}

/// Enters a scope. What is entered last is left first.
#[inline]
fn enter_frame(frame: impl FnOnce() -> Frame) -> Inside {
    with(|context| context.push(frame()));
    Inside(PhantomData)
}

/// Enters the scope of `node`.
#[inline]
pub(crate) fn enter(node: Arc<Node>) -> Inside {
    enter_frame(|| Frame::Node(node))
}

/// Runs `f` in the scope of `node`.
#[inline]
pub(crate) fn within<T>(node: Arc<Node>, f: impl FnOnce() -> T) -> T {
    let _inside = enter(node);
    f()
}

/// Runs `f` in the scope of a task that has no handle.
pub(crate) fn within_task<T>(base: Arc<Node>, f: impl FnOnce() -> T) -> T {
    let _inside = enter_frame(|| Frame::Task { base, own: None });
    f()
}

/// Runs `f` in the scope of a task that has a node of its own if something asks for it.
pub(crate) fn within_lazy<T>(task: LazyTask, f: impl FnOnce() -> T) -> T {
    let _inside = enter_frame(|| Frame::Lazy(task));
    f()
}

/// Runs `f` outside of any scope.
pub(crate) fn outside<T>(f: impl FnOnce() -> T) -> T {
    let _inside = enter_frame(|| Frame::Clear);
    f()
}

/// `Err` if the current scope is cancelled.
#[inline]
pub(crate) fn check() -> Result<(), Cancelled> {
    if is_clear() { Ok(()) } else { check_slowly() }
}

/// Neither cancelled nor under a deadline, as far as the slot knows.
#[inline]
fn is_clear() -> bool {
    CONTEXT
        .try_with(Context::is_clear)
        .unwrap_or_else(|_| with(Context::is_clear))
}

/// Whether the current scope is cancelled.
#[inline]
pub(crate) fn is_cancelled() -> bool {
    // fault: check-believes-the-mark
    !is_clear() && check_slowly().is_err()
}

#[cold]
fn check_slowly() -> Result<(), Cancelled> {
    if !with(Context::attach) || is_clear() {
        return Ok(());
    }
    current().map_or(Ok(()), |node| node.check())
}

/// `Err` if the current scope is cancelled, or if a cancel is on its way to it: see
/// [`Node::check_above`].
///
/// For a call that is to fail because another thread has gone: if that thread went because of a
/// cancel that comes to this scope too, the call was cancelled.
#[cold]
pub(crate) fn check_above() -> Result<(), Cancelled> {
    // fault: own-node-alone-is-asked
    current().map_or(Ok(()), |node| node.check_above())
}

/// Blocks until `ready`, or until `limit`.
///
/// # Errors
///
/// The current scope was cancelled, before or meanwhile, and `ready` did not hold. Whoever calls
/// decides under the lock of the primitive whether the wait was granted in spite of it.
#[inline]
#[track_caller]
pub(crate) fn wait(
    point: Point,
    limit: Option<Instant>,
    mut ready: impl FnMut() -> bool,
) -> Result<Outcome, Cancelled> {
    let location = Location::caller();
    loop {
        check()?;
        // Each time anew: the code of a task that had to fail may have been in scopes of its own.
        match with(|context| context.wait(point, location, limit, &mut ready)) {
            Woken::Ready => return Ok(Outcome::Ready),
            Woken::Marked | Woken::Refused => {}
            Woken::TimedOut => {
                check()?;
                if limit.is_some_and(|limit| limit <= facade::now()) {
                    return Ok(Outcome::TimedOut);
                }
            }
        }
    }
}

/// Blocks until `ready`, or until the instant `until` gives, whatever is cancelled.
#[track_caller]
pub(crate) fn wait_uncancellable(
    point: Point,
    until: impl FnMut() -> Option<Instant>,
    ready: impl FnMut() -> bool,
) -> Outcome {
    wait_uncancellable_at(Location::caller(), point, until, ready)
}

/// As [`wait_uncancellable`], for a wait that stands for a call at `location`.
pub(crate) fn wait_uncancellable_at(
    location: &'static Location<'static>,
    point: Point,
    mut until: impl FnMut() -> Option<Instant>,
    mut ready: impl FnMut() -> bool,
) -> Outcome {
    loop {
        let mut refused = None;
        match slot().wait(point, location, false, &mut until, &mut ready, &mut refused) {
            Woken::Ready => return Outcome::Ready,
            Woken::Marked | Woken::TimedOut => return Outcome::TimedOut,
            Woken::Refused => refused.into_iter().for_each(Refusal::fail),
        }
    }
}

/// Runs `f`, which blocks in a channel of crossbeam's, and says so.
#[cfg(feature = "crossbeam")]
#[track_caller]
pub(crate) fn blocked<T>(point: Point, f: impl FnOnce() -> T) -> T {
    slot().blocked(point, Location::caller(), f)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::{Node, check, within};

    #[test]
    fn a_scope_that_has_been_left_is_not_held() {
        let node = Node::root();
        let left = Arc::downgrade(&node);
        within(node, check).unwrap(); // the check attaches the slot
        assert!(left.upgrade().is_none());
    }
}
