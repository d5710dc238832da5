//! Cancellation: the tree of tokens, causes, callbacks, deadlines, and the context of each thread.
//!
//! # The order of the files
//!
//! A cancel is a recursion by nature: a check can find a deadline passed, which cancels, which runs
//! callbacks, which check. The files still have an order: marking the tree returns a delivery
//! instead of delivering, and the timer knows alarms instead of nodes. A file uses only files above
//! it here:
//!
//! | file | contents |
//! |---|---|
//! | `text`, `span` | the user's texts, and times, in messages |
//! | `id` | the identities of tokens and tasks |
//! | `actor` | a task or a body, with those around it |
//! | `retried` | the attempts of a retry that a cancel ended |
//! | `latencies` | the tasks of a group that took longest to end after their cancel |
//! | `cause` | causes, and the error of a cancelled call |
//! | `current` | the task or body that a thread runs |
//! | `deadline` | an instant in a word |
//! | `timer` | the threads that ring alarms |
//! | `callbacks` | the list of a node's callbacks |
//! | `watchers` | callbacks and threads that are told of the cancel of a node |
//! | `grace` | how long a cancel spares the regions that wind down |
//! | `observer` | a group, which is told of the cancel of its node |
//! | `node` | a place in the tree: the state, the lock order, the invariants |
//! | `ancestors` | the way up from a node |
//! | `limits` | deadlines and the ends of graces and shields |
//! | `mark` | how a cancel marks the tree |
//! | `link` | making nodes, and linking them to their parents |
//! | `locks` | the locks of this crate that a thread holds |
//! | `bare` | a scope before it has a node |
//! | `frames` | the slot of a thread, and the scopes it is in |
//! | `uncancellable` | waits that no cancel ends |
//! | `report` | where the panic of a callback or a hook goes |
//! | `callback` | registering callbacks, taking them back, and running them |
//! | `hooks` | the hooks of one cancel, on several threads |
//! | `delivery` | the wakes, hooks and callbacks after a cancel has marked the tree |
//! | `expire` | the cancel of a node when a limit has passed |
//! | `check` | checks, and cancels by request |
//! | `wait` | waits that a cancel ends |
//! | `poll` | waits for descriptors |
//! | `token_wait` | waits for the cancel of a token |
//! | `repeat`, `region` | regions of foreign code with a hook |
//! | `token` | the handle of a node |
//! | `cancel_on_drop` | a token that is cancelled by a drop |
//! | `closed` | a token as a crossbeam channel |
//! | `context` | the context of a thread, as other folders see it |

pub(crate) mod actor;
mod ancestors;
mod bare;
mod callback;
mod callbacks;
mod cancel_on_drop;
mod cause;
mod check;
#[cfg(feature = "crossbeam")]
mod closed;
pub(crate) mod context;
pub(crate) mod current;
mod deadline;
mod delivery;
mod expire;
mod frames;
mod grace;
mod hooks;
mod id;
mod latencies;
mod limits;
mod link;
mod locks;
mod mark;
mod node;
mod observer;
#[cfg(any(unix, loom))]
mod poll;
pub(crate) mod region;
mod repeat;
mod report;
mod retried;
mod span;
mod text;
mod timer;
mod token;
mod token_wait;
mod uncancellable;
mod wait;
mod watchers;

pub(crate) use ancestors::OwnedBy;
pub use callback::CallbackGuard;
pub use cancel_on_drop::CancelOnDrop;
pub use cause::{CancelCause, Cancelled};
#[cfg(not(loom))]
pub(crate) use deadline::{NEVER, decode, encode};
#[cfg(any(taskgroup_models, not(loom)))]
pub(crate) use grace::Grace;
pub use id::{TaskId, TaskInfo, TokenId};
pub use latencies::{TaskLatency, WorstLatencies};
pub(crate) use node::Node;
pub(crate) use observer::{KeptCanceller, Observer};
pub use retried::Retried;
#[cfg(not(loom))]
pub(crate) use span::Span;
pub(crate) use text::{Escaped, Name, one_line};
#[cfg(not(loom))]
pub(crate) use timer::{Alarm, arm, has_alarms};
pub use token::CancelToken;
