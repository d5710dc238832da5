//! The parts that the socket types have in common with the types of std that they wrap.

/// Defines methods of std's type that never block, by a call of the method of that name. Each gets
/// a last paragraph that points to std's.
macro_rules! like_std {
    (
        impl $type:ident = $std:literal {
            $(
                $(#[$attribute:meta])*
                fn $name:ident(&self $(, $arg:ident: $arg_type:ty)*) -> $result:ty;
            )*
        }
    ) => {
        impl $type {
            $(
                $(#[$attribute])*
                #[doc = concat!("\n\nStd's [`", stringify!($name), "`](", $std, "::", stringify!($name), ").")]
                pub fn $name(&self $(, $arg: $arg_type)*) -> $result {
                    self.socket.$name($($arg),*)
                }
            )*
        }
    };
}
pub(super) use like_std;

/// Implements access to the descriptor, and the `Debug` of std's type.
macro_rules! descriptor {
    ($type:ty) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.socket.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.socket.as_raw_fd()
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.socket, f)
            }
        }
    };
}
pub(super) use descriptor;
