//! The macro that implements [`TaskError`](crate::TaskError) for an error that holds other errors.

/// Implements [`TaskError`](crate::TaskError) for an enum or a struct with variants or fields that
/// hold other errors.
///
/// Name each variant that may hold a cancel. That is a variant that holds a
/// [`Cancelled`](crate::Cancelled), another [`TaskError`](crate::TaskError) such as
/// [`GroupError`](crate::GroupError), `anyhow::Error` or `io::Error`, or any error that has one of
/// these in its source chain. The error may be boxed. It is the first value of the variant; of a
/// variant with named fields, name the field too, like in `Read { source }`. Variants that are not
/// named count as failures. The type needs `From<Cancelled>` and `std::error::Error`.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::{Cancelled, GroupError, TaskGroup};
///
/// #[derive(Debug, thiserror::Error)]
/// enum ImportError {
///     #[error("stopped")]
///     Cancelled(#[from] Cancelled),
///     #[error("a part failed")]
///     Part(#[from] GroupError),
///     #[error(transparent)]
///     Other(#[from] anyhow::Error),
///     #[error("cannot read {path}")]
///     Read { path: String, source: std::io::Error },
///     #[error("nothing to import")]
///     Empty,
/// }
/// taskgroup::task_error!(ImportError { Cancelled, Part, Other, Read { source } });
///
/// # fn main() -> Result<(), GroupError<ImportError>> {
/// TaskGroup::builder().error_type::<ImportError>().scope(|g| {
///     g.spawn(|| -> Result<(), ImportError> {
///         TaskGroup::scope(|_| Ok(taskgroup::sleep(Duration::MAX)?))?;
///         Err(ImportError::Empty)
///     });
///     // This cancel cuts the nested group short, which is not a failure.
///     g.cancel();
///     Ok(())
/// })
/// # }
/// ```
///
/// For a struct, name the field that holds the error:
///
/// ```
/// use taskgroup::{CancelToken, Cancelled, TaskError};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("cannot import")]
/// struct ImportError {
///     #[from]
///     source: anyhow::Error,
/// }
/// impl From<Cancelled> for ImportError {
///     fn from(cancelled: Cancelled) -> Self {
///         ImportError { source: cancelled.into() }
///     }
/// }
/// taskgroup::task_error!(struct ImportError { source });
///
/// let token = CancelToken::new();
/// token.cancel();
/// let error = ImportError::from(token.check().unwrap_err());
/// assert!(error.cancelled().is_some());
/// ```
///
/// A variant that holds no error cannot be named:
///
/// ```compile_fail,E0277
/// #[derive(Debug, thiserror::Error)]
/// enum ImportError {
///     #[error("stopped")]
///     Cancelled(#[from] taskgroup::Cancelled),
///     #[error("line {0}")]
///     Line(u32),
/// }
/// taskgroup::task_error!(ImportError { Cancelled, Line });
/// ```
#[macro_export]
macro_rules! task_error {
    (struct $Type:ident { $($field:tt),+ $(,)? }) => {
        impl $crate::TaskError for $Type {
            fn cancelled(&self) -> ::core::option::Option<&$crate::Cancelled> {
                // Inside of the function, so that the user's module gets no names from here. One
                // of the traits is enough for most types.
                #[allow(unused_imports)]
                use $crate::__probe::{AsError, AsOther, AsTaskError};
                ::core::option::Option::None
                    $(.or_else(|| (&&$crate::__probe::Probe(&self.$field)).find()))+
            }

            fn held(&self) -> ::core::option::Option<&(dyn ::std::error::Error + 'static)> {
                #[allow(unused_imports)]
                use $crate::__probe::{AsError, AsOther, AsTaskError};
                ::core::option::Option::None
                    $(.or_else(|| (&&$crate::__probe::Probe(&self.$field)).held()))+
            }

            fn as_error(&self) -> ::core::option::Option<&(dyn ::std::error::Error + 'static)> {
                ::core::option::Option::Some(self)
            }
        }
    };
    ($Type:ident { $($variant:ident $({ $field:ident })?),+ $(,)? }) => {
        impl $crate::TaskError for $Type {
            fn cancelled(&self) -> ::core::option::Option<&$crate::Cancelled> {
                #[allow(unused_imports)]
                use $crate::__probe::{AsError, AsOther, AsTaskError};

                match self {
                    $($crate::__task_error_variant!($Type $variant error $($field)?) => {
                        (&&$crate::__probe::Probe(error)).find()
                    })+

                    // No variant is left for it if all are named.
                    #[allow(unreachable_patterns)]
                    _ => ::core::option::Option::None,
                }
            }

            fn held(&self) -> ::core::option::Option<&(dyn ::std::error::Error + 'static)> {
                #[allow(unused_imports)]
                use $crate::__probe::{AsError, AsOther, AsTaskError};
                match self {
                    $($crate::__task_error_variant!($Type $variant error $($field)?) => {
                        (&&$crate::__probe::Probe(error)).held()
                    })+
                    #[allow(unreachable_patterns)]
                    _ => ::core::option::Option::None,
                }
            }

            fn as_error(&self) -> ::core::option::Option<&(dyn ::std::error::Error + 'static)> {
                ::core::option::Option::Some(self)
            }
        }
    };
}

/// The pattern of a variant, with a name for the error that it holds.
#[doc(hidden)]
#[macro_export]
macro_rules! __task_error_variant {
    ($Type:ident $variant:ident $error:ident) => {
        $Type::$variant($error, ..)
    };
    ($Type:ident $variant:ident $error:ident $field:ident) => {
        $Type::$variant { $field: $error, .. }
    };
}

/// Lets the macro ask an error of a type that it does not know.
///
/// A method call on `&&Probe` looks for the method with that type as `self`, then with one more
/// reference, then with one less. So a [`TaskError`](crate::TaskError) answers for itself, the
/// chain answers for any other error, and for the rest there is a boxed error or a message.
#[doc(hidden)]
pub mod probe {
    use std::error::Error;

    use crate::cancel::Cancelled;
    use crate::error::TaskError;

    #[doc(hidden)]
    #[derive(Debug)]
    pub struct Probe<'a, T>(pub &'a T);

    /// An error that says by itself whether it is a cancel.
    #[doc(hidden)]
    pub trait AsTaskError<'a> {
        /// Returns the cancel, if there is one.
        fn find(&self) -> Option<&'a Cancelled>;

        /// Returns the error itself.
        fn held(&self) -> Option<&'a (dyn Error + 'static)>;
    }

    impl<'a, T: TaskError> AsTaskError<'a> for &Probe<'a, T> {
        fn find(&self) -> Option<&'a Cancelled> {
            self.0.cancelled()
        }

        fn held(&self) -> Option<&'a (dyn Error + 'static)> {
            self.0.as_error()
        }
    }

    /// An error with a chain to search.
    #[doc(hidden)]
    pub trait AsError<'a> {
        /// Returns the cancel, if there is one.
        fn find(&self) -> Option<&'a Cancelled>;

        /// Returns the error itself.
        fn held(&self) -> Option<&'a (dyn Error + 'static)>;
    }

    impl<'a, T: Error + 'static> AsError<'a> for &&Probe<'a, T> {
        fn find(&self) -> Option<&'a Cancelled> {
            Cancelled::find(self.0)
        }

        fn held(&self) -> Option<&'a (dyn Error + 'static)> {
            Some(self.0)
        }
    }

    /// A value that is not an error itself, but may hold one.
    #[doc(hidden)]
    pub trait AsOther<'a, T> {
        /// Returns the cancel, if there is one.
        fn find(&self) -> Option<&'a Cancelled>
        where
            T: HoldsError;

        /// Returns the error that the value holds.
        fn held(&self) -> Option<&'a (dyn Error + 'static)>
        where
            T: HoldsError;
    }

    impl<'a, T> AsOther<'a, T> for Probe<'a, T> {
        fn find(&self) -> Option<&'a Cancelled>
        where
            T: HoldsError,
        {
            // A bound of the method, not of the impl: without it the method is found for every
            // type, and the compiler prints the message of `HoldsError`.
            Cancelled::find(self.0.error())
        }

        fn held(&self) -> Option<&'a (dyn Error + 'static)>
        where
            T: HoldsError,
        {
            Some(self.0.error())
        }
    }

    /// A box with an error of any type, which is not an error itself.
    #[doc(hidden)]
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is not an error, so it cannot hold a cancel",
        label = "`task_error!` names a variant or field with a value of this type",
        note = "name only those that hold an error as their first value, or the field that holds it"
    )]
    pub trait HoldsError {
        /// Returns the error in the box.
        fn error(&self) -> &(dyn Error + 'static);
    }

    macro_rules! holds_error {
        ($($Holder:ty),+) => {
            $(impl HoldsError for $Holder {
                fn error(&self) -> &(dyn Error + 'static) {
                    &**self
                }
            })+
        };
    }
    holds_error!(Box<dyn Error + Send>, Box<dyn Error + Send + Sync>);
}
