//! The place and the backtrace of a panic. Only the panic hook learns them, so it keeps a record
//! until the panic is caught.

use std::any::{Any, TypeId};
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::thread;

/// The record that the panic hook makes of one panic.
pub(crate) struct PanicRecord {
    pub(crate) identity: PayloadIdentity,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<Backtrace>,
}

/// Matches the payload that comes out of `catch_unwind` with the payload that the hook saw.
///
/// In between the payload moves into a box, so its own address identifies nothing. The address of
/// the text that it points to does not change. The text is compared as well, since the allocator
/// hands out the address of a dropped text again.
///
/// For other types there is only the type. A record can then be wrong if the task caught such a
/// panic itself and later *resumes* another payload of the same type. So can the record of a text
/// if another payload has the same text at the same address: the compiler may merge equal literals,
/// and the allocator may reuse the address for an equal text.
#[derive(PartialEq)]
pub(crate) enum PayloadIdentity {
    Text { address: usize, text: String },
    Type(TypeId),
}

impl PayloadIdentity {
    pub(crate) fn of(payload: &(dyn Any + Send)) -> Self {
        let text = match payload.downcast_ref::<&'static str>() {
            Some(text) => Some(*text),
            None => payload.downcast_ref::<String>().map(String::as_str),
        };

        // The address alone may be reused, and the text alone is not unique.
        match text {
            Some(text) => PayloadIdentity::Text {
                address: text.as_ptr().addr(),
                text: text.to_owned(),
            },
            None => PayloadIdentity::Type(payload.type_id()),
        }
    }
}

/// How many records a thread keeps. Panics nest: a destructor that runs while a panic unwinds may
/// raise and catch others.
const NESTED: usize = 8;

thread_local! {
    /// The records of the latest panics of this thread that have not been taken, oldest first.
    static RECORDS: RefCell<Vec<PanicRecord>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the record of a panic of this thread.
pub(crate) fn keep_record(record: PanicRecord) {
    // A panic of a thread that is past its thread-locals goes unrecorded.
    let _ = RECORDS.try_with(|records| {
        let mut records = records.borrow_mut();

        // The oldest is the least likely to be asked about.
        if records.len() == NESTED {
            records.remove(0);
        }

        records.push(record);
    });
}

/// Takes the record of the panic that `payload` came from, and drops all records before it.
pub(super) fn take_record(payload: &(dyn Any + Send)) -> Option<PanicRecord> {
    let record = RECORDS
        .try_with(|records| {
            let mut records = records.borrow_mut();

            // Without the hook there are no records, and the text need not be copied to compare it.
            if records.is_empty() {
                return None;
            }

            let identity = PayloadIdentity::of(payload);

            // The latest match: an earlier one may be of a panic that was caught elsewhere.
            let found = records
                .iter()
                .rposition(|record| record.identity == identity)?;
            Some(records.remove(found))
        })
        .ok()
        .flatten();

    // Even if no record matches: all of them are of panics before this one.
    forget_panics();
    record
}

/// Drops the records of this thread: once one panic has been asked about, those before it will not
/// be. While a panic unwinds the thread nothing is dropped, since its record is still wanted.
pub(crate) fn forget_panics() {
    if !thread::panicking() {
        let _ = RECORDS.try_with(|records| records.borrow_mut().clear());
    }
}
