//! The parts that the guards of the locks share.

/// Shows a guard like its value.
macro_rules! show_value {
    ($($Guard:ident),+) => {$(
        impl<T: ?Sized + std::fmt::Debug> std::fmt::Debug for $Guard<'_, T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<T: ?Sized + std::fmt::Display> std::fmt::Display for $Guard<'_, T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }
    )+};
}

/// Implements a guard that has the locked `data` and, dropped after it, a `hold`.
///
/// `value` says whether the guard gives a `&T` or a `&mut T`. `map` and `try_map` make a `$Part` of
/// it; their documentation is given by the guard.
macro_rules! guard {
    (
        $Guard:ident, $Data:ident, value: & $($mutable:ident)?, part: $Part:ident;
        $(#[$map:meta])* map;
        $(#[$try_map:meta])* try_map;
    ) => {
        impl<'a, T: ?Sized> $Guard<'a, T> {
            $(#[$map])*
            pub fn map<U: ?Sized>(
                this: Self,
                f: impl FnOnce(& $($mutable)? T) -> & $($mutable)? U,
            ) -> $Part<'a, U> {
                let $Guard { data, hold } = this;
                let data = $Data::map(data, f);
                $Part { data, hold }
            }

            $(#[$try_map])*
            pub fn try_map<U: ?Sized>(
                this: Self,
                f: impl FnOnce(& $($mutable)? T) -> Option<& $($mutable)? U>,
            ) -> Result<$Part<'a, U>, Self> {
                let $Guard { data, hold } = this;
                match $Data::try_map(data, f) {
                    Ok(data) => Ok($Part { data, hold }),
                    Err(data) => Err($Guard { data, hold }),
                }
            }
        }

        impl<T: ?Sized> std::ops::Deref for $Guard<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.data
            }
        }

        $(
            impl<T: ?Sized> std::ops::DerefMut for $Guard<'_, T> {
                #[inline]
                fn deref_mut(&mut self) -> & $mutable T {
                    &mut self.data
                }
            }
        )?

        show_value!($Guard);
    };
}

pub(super) use {guard, show_value};
