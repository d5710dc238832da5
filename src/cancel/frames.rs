//! The frames of a thread: its slot, and the scopes it is in.
//!
//! A thread's slot is attached to the node of its innermost scope, lazily: entering a scope pushes
//! a frame, and the first check or wait in it attaches. A task that never blocks never takes the
//! lock of its group's node.
//!
//! | standing | meaning | a check |
//! |---|---|---|
//! | `Outside` | no frame, or a shield on top | is `Ok` |
//! | `Attached` | the slot is attached to the node of the top frame | is one load of the slot's word |
//! | `Limited` | the same, and time limits without a node are on top | reads the clock too |
//! | `Stale` | a frame was pushed or popped since, or a task has made its node | attaches first |
//!
//! Time limits, and regions that wind down, have a frame without a node at first: see
//! [`bare_frames`].
//!
//! A destructor of a thread-local that runs after the destructor of `FRAMES` finds other frames in
//! `LATE`, which last while a scope is entered or a call uses them. Such a destructor begins
//! outside any scope. Each `Frames` has a slot of its own, so threads are compared by `identity` or
//! by their unparkers, never by their slots.
//!
//! A task that is run in place has a frame only once it has asked for a node of its own. Until then
//! its scope is the scope of the frame below, and nothing of the above changes.

pub(super) mod bare_frames;

use std::cell::{Cell, OnceCell, RefCell};
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use super::bare::Bare;
use super::locks::holds_lock;
use super::node::{Attachment, Node};
use crate::facade::{CountedRef, InChild, Late, local};
use crate::waiting::Slot;
use crate::workers::InPlace;

local! {
    static FRAMES: Frames = Frames::new();
}

local! {
    // Stands in for `FRAMES` in the destructors that run after the destructor of `FRAMES`.
    static LATE: Late<Frames> = Late::new();
}

local! {
    // Its address tells this thread from every other, even in the last destructor, since it has
    // none itself. Its value is 1 once the thread has entered a frame.
    static HERE: Cell<u8> = Cell::new(0);
}

/// A child of `fork` begins outside any scope: the nodes of its parent may be locked for ever.
static IN_CHILD: InChild = InChild::new(|| {
    // The first touch of `FRAMES` on a thread allocates.
    if HERE.with(Cell::get) != 0 {
        let _ = FRAMES.try_with(Frames::take_away);
    }
});

/// The scopes of a thread, and its slots.
pub(super) struct Frames {
    standing: Cell<Standing>,
    slot: OnceCell<Arc<Slot>>,
    attachment: RefCell<Option<Attachment>>,
    frames: RefCell<Vec<Frame>>,
    /// The number of frames at the beginning of the innermost task that runs in place, or 0.
    in_place: Cell<usize>,
    /// Slots of regions with a hook that have ended, for the next regions.
    spare: RefCell<Vec<Arc<Slot>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Outside,
    Attached,
    Limited,
    Stale,
}

/// A scope that a thread is in.
enum Frame {
    Node(Arc<Node>),
    /// A task without a handle. Only the task itself can ask for a node of its own, which is kept
    /// here.
    Task {
        base: Arc<Node>,
        own: Option<Arc<Node>>,
    },
    /// A task that can be cancelled by its handle. It makes its node when something asks for it.
    Lazy(LazyTask),
    /// A scope that has no node yet. Below it is a frame that has one, with nothing but others of
    /// this kind in between.
    Bare(Bare),
    /// A shield.
    Clear,
}

/// A task that makes its own node when something asks for it.
pub(crate) trait OwnNode: Send + Sync {
    /// Returns the node of the task, which the first call makes.
    fn own_node(&self) -> Arc<Node>;
}

/// A task that a thread runs, as its frame holds it.
pub(crate) type LazyTask = CountedRef<dyn OwnNode>;

impl Frames {
    const fn new() -> Self {
        Frames {
            standing: Cell::new(Standing::Outside),
            slot: OnceCell::new(),
            attachment: RefCell::new(None),
            frames: RefCell::new(Vec::new()),
            in_place: Cell::new(0),
            spare: RefCell::new(Vec::new()),
        }
    }

    /// Takes the scopes of the parent away, in a child that this thread has forked. The slots stay.
    /// What is dropped later, on the way out of a scope of the parent, finds none to leave.
    fn take_away(&self) {
        // Forgotten: to leave a node is to take its lock.
        if let Ok(mut attachment) = self.attachment.try_borrow_mut() {
            mem::forget(attachment.take());
        }
        if let Ok(mut frames) = self.frames.try_borrow_mut() {
            mem::forget(mem::take(&mut *frames));
        }
        self.standing.set(Standing::Outside);
        self.in_place.set(0);
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        self.slot.get_or_init(Slot::new)
    }

    /// Returns the node of the innermost scope. In a task without a handle that is the node of its
    /// group, until the task has a node of its own.
    pub(super) fn node(&self) -> Option<Arc<Node>> {
        if self.is_bare() {
            self.make_nodes();
        }

        self.made_node()
    }

    /// Returns the node of the innermost scope that is not bare.
    fn made_node(&self) -> Option<Arc<Node>> {
        // The borrow ends before the task makes its node, which may ask for the frames.
        let lazy = match self
            .frames
            .borrow()
            .iter()
            .rfind(|frame| frame.bare().is_none())?
        {
            Frame::Node(node) => return Some(node.clone()),
            Frame::Task { base, own } => return Some(own.as_ref().unwrap_or(base).clone()),
            Frame::Clear | Frame::Bare(_) => return None,
            Frame::Lazy(lazy) => lazy.clone(),
        };

        Some(lazy.own_node())
    }

    /// Returns the node of the innermost scope; in a task, the node of the task itself, which is
    /// made here if there is none.
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
            // A task in place has had no frame until now.
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

    #[inline]
    fn pop(&self) {
        let frame = self.frames.borrow_mut().pop();

        if let Some(Frame::Bare(_)) = frame {
            // The slot stays attached to the node below.
            if self.standing.get() == Standing::Limited && self.earliest_limit().is_none() {
                self.standing.set(Standing::Attached);
            }
            return;
        }

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

    /// Attaches the slot to the node of the innermost scope. Returns false if there is none.
    pub(super) fn attach(&self) -> bool {
        match self.standing.get() {
            Standing::Outside => return false,
            Standing::Attached | Standing::Limited => return true,
            Standing::Stale => {}
        }

        // fault: bare-scope-hides-the-scopes-around
        let Some(node) = self.made_node() else {
            return false;
        };

        let attached = self
            .attachment
            .borrow()
            .as_ref()
            .is_some_and(|attachment| Arc::ptr_eq(attachment.node(), &node));
        if !attached {
            // A slot is attached to one node at a time (invariant 2 of the slot).
            self.detach();
            let attachment = node.attach(self.slot());
            self.attachment.replace(Some(attachment));
        }

        self.standing.set(if self.earliest_limit().is_some() {
            Standing::Limited
        } else {
            Standing::Attached
        });
        true
    }

    /// Neither cancelled nor under a deadline, as far as the slot and the frames know.
    #[inline]
    pub(super) fn is_clear(&self) -> bool {
        match self.standing.get() {
            Standing::Outside => true,
            Standing::Attached => self.slot.get().is_some_and(|slot| slot.is_clear()),
            Standing::Limited | Standing::Stale => false,
        }
    }

    /// Whether the innermost scope belongs to `node`, and no task with a node of its own is in it.
    fn is_in(&self, node: &Arc<Node>) -> bool {
        match self.frames.borrow().last() {
            Some(
                Frame::Node(top)
                | Frame::Task {
                    base: top,
                    own: None,
                },
            ) => Arc::ptr_eq(top, node),
            _ => false,
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Calls `f` with the frames of this thread, which outlive all its thread-locals.
#[inline]
pub(super) fn with<T>(f: impl FnOnce(&Frames) -> T) -> T {
    // Asked for first: if the closure were kept for the other case, its captures would go through
    // memory.
    if FRAMES.try_with(|_| ()).is_ok() {
        FRAMES.with(f)
    } else if LATE.try_with(|_| ()).is_ok() {
        LATE.with(|late| late.with(Frames::new, |frames| frames.frames.borrow().is_empty(), f))
    } else {
        // In a model, in which threads have no last destructor.
        f(&Frames::new())
    }
}

/// Whether the innermost scope is neither cancelled nor under a deadline, as far as this thread
/// knows.
#[inline]
pub(super) fn is_clear() -> bool {
    FRAMES
        .try_with(Frames::is_clear)
        .unwrap_or_else(|_| with(Frames::is_clear))
}

/// Returns the slot of this thread.
pub(crate) fn slot() -> Arc<Slot> {
    with(|frames| frames.slot().clone())
}

/// Returns a slot for a region with a hook.
pub(super) fn take_spare_slot() -> Arc<Slot> {
    with(|frames| frames.spare.borrow_mut().pop()).unwrap_or_else(Slot::new)
}

/// Keeps the slot of a region that has ended, for the next region.
pub(super) fn keep_spare_slot(slot: Arc<Slot>) {
    with(|frames| frames.spare.borrow_mut().push(slot));
}

/// Returns a number that tells this thread from every other living thread.
pub(crate) fn identity() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// Returns the node of the innermost scope: the parent of all scopes that are opened there.
pub(crate) fn current() -> Option<Arc<Node>> {
    with(Frames::node)
}

/// Returns the node of the innermost scope, to be handed out or marked by itself: in a task, its
/// own node.
pub(crate) fn current_own() -> Option<Arc<Node>> {
    with(Frames::own_node)
}

/// Returns the node of its own that the innermost task, one without a handle, has made.
pub(crate) fn made_own() -> Option<Arc<Node>> {
    with(|frames| match frames.frames.borrow().last() {
        Some(Frame::Task { own, .. }) => own.clone(),
        _ => None,
    })
}

/// While it lives, this thread is inside a scope.
#[must_use = "the scope is left at once if this is not kept"]
pub(crate) struct InsideScope(PhantomData<*const ()>);

impl Drop for InsideScope {
    #[inline]
    fn drop(&mut self) {
        FRAMES
            .try_with(Frames::pop)
            .unwrap_or_else(|_| with(Frames::pop));
    }
}

/// Enters a scope. The scope that is entered last is left first.
#[inline]
fn enter_frame(frame: impl FnOnce() -> Frame) -> InsideScope {
    // The first frame of each thread comes through here.
    HERE.with(|here| here.set(1));
    with(|frames| frames.push(frame()));
    InsideScope(PhantomData)
}

/// Enters the scope of `node`.
#[inline]
pub(crate) fn enter(node: Arc<Node>) -> InsideScope {
    // The other frames are entered inside of a scope of this kind, on whatever thread.
    IN_CHILD.ensure();
    enter_frame(|| Frame::Node(node))
}

/// Runs `f` in the scope of `node`.
#[inline]
pub(crate) fn within<T>(node: Arc<Node>, f: impl FnOnce() -> T) -> T {
    let _inside = enter(node);
    f()
}

/// Enters the scope of a task that has no handle.
#[inline]
pub(crate) fn enter_task(base: Arc<Node>) -> InsideScope {
    enter_frame(|| Frame::Task { base, own: None })
}

/// Enters the scope of a task that makes a node of its own if something asks for it.
#[inline]
pub(crate) fn enter_lazy(task: LazyTask) -> InsideScope {
    enter_frame(|| Frame::Lazy(task))
}

#[inline]
fn enter_clear() -> InsideScope {
    enter_frame(|| Frame::Clear)
}

/// Runs `f` outside any scope.
pub(crate) fn outside<T>(f: impl FnOnce() -> T) -> T {
    let _inside = enter_clear();
    f()
}

/// While it lives, this thread runs a task in place.
#[must_use = "the task runs in place for as long as this is kept"]
pub(crate) struct InsideInPlace {
    /// The number of frames before the task.
    depth: usize,
    /// The number of frames before the task in place around it, or 0.
    before: usize,
    _in_place: InPlace,
}

/// Enters a task of `node` without a handle in place. Returns none unless the innermost scope
/// belongs to `node` itself, this thread holds no lock of the crate, and the tasks around it have
/// left enough of the stack.
#[inline]
pub(crate) fn enter_in_place(node: &Arc<Node>) -> Option<InsideInPlace> {
    let enter = |frames: &Frames| {
        if !frames.is_in(node) || holds_lock() {
            return None;
        }

        let in_place = InPlace::begin()?;

        // The task has no frame of its own yet: `own_node` sees by the depth that it runs in place.
        let depth = frames.frames.borrow().len();
        Some(InsideInPlace {
            depth,
            before: frames.in_place.replace(depth),
            _in_place: in_place,
        })
    };
    FRAMES.try_with(enter).unwrap_or_else(|_| with(enter))
}

impl Drop for InsideInPlace {
    #[inline]
    fn drop(&mut self) {
        let leave = |frames: &Frames| {
            // The task has asked for a node of its own.
            if frames.frames.borrow().len() > self.depth {
                frames.pop();
            }

            frames.in_place.set(self.before);
        };
        FRAMES.try_with(leave).unwrap_or_else(|_| with(leave));
    }
}
