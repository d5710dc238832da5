//! `.cancellable()`: loops that a cancel ends.

use taskgroup::{CancelToken, CancellableExt, Cancelled};

#[test]
fn all_items_come_through_outside_any_scope_and_in_a_scope_that_is_not_cancelled()
-> Result<(), Cancelled> {
    let items: Vec<_> = [1, 2, 3]
        .into_iter()
        .cancellable()
        .collect::<Result<_, _>>()?;
    assert_eq!(items, [1, 2, 3]);
    CancelToken::new()
        .run(|| assert_eq!((0..100).cancellable().filter_map(Result::ok).count(), 100));
    Ok(())
}

#[test]
fn a_cancelled_loop_takes_no_item_does_not_look_finished_and_stops() {
    let token = CancelToken::new();
    token.run(|| {
        let mut items = (0..).cancellable();
        assert_eq!(items.next().map(|item| item.ok()), Some(Some(0)));
        token.cancel_because("enough");
        for _ in 0..2 {
            let cancelled = items
                .next()
                .expect("it does not look finished")
                .expect_err("the scope is cancelled");
            assert!(cancelled.to_string().contains("enough"), "{cancelled}");
            assert!(items.next().is_none());
        }
        assert_eq!(
            items.by_ref().count(),
            1,
            "it ends although the loop does not stop at the error"
        );
        assert_eq!(
            taskgroup::shield(|| items.next()).map(|item| item.ok()),
            Some(Some(1))
        );
        assert_eq!(items.into_inner().next(), Some(2));
    });
}

#[test]
fn a_loop_that_was_left_at_the_error_continues_at_its_position() -> Result<(), Cancelled> {
    let token = CancelToken::new();
    let mut items = [1, 2, 3].into_iter().cancellable();
    assert_eq!(items.len(), 3);
    token.run(|| {
        token.cancel();
        assert!(items.next().is_some_and(|item| item.is_err()));
    });
    assert_eq!(items.len(), 3);
    assert_eq!(items.collect::<Result<Vec<_>, _>>()?, [1, 2, 3]);
    Ok(())
}
