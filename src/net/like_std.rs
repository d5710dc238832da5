//! The parts that the socket types have in common with the types of std that they wrap.

/// Defines methods of std's type that never block, by a call of the method of that name. Each gets
/// a last paragraph that points to std's.
macro_rules! like_std {
    // `then` names a method that is called after that of std.
    (
        impl $type:ident = $std:literal {
            $(
                $(#[$attribute:meta])*
                fn $name:ident(&self $(, $arg:ident: $arg_type:ty)*) -> $result:ty
                    $(, then $then:ident)?;
            )*
        }
    ) => {
        impl $type {
            $(
                $(#[$attribute])*
                #[doc = concat!(
                    "\n\nStd's [`", stringify!($name), "`](", $std, "::", stringify!($name),
                    "), with its errors."
                )]
                pub fn $name(&self $(, $arg: $arg_type)*) -> $result {
                    $crate::net::like_std::like_std!(
                        @call self.socket.$name($($arg),*) $(, self.$then())?
                    )
                }
            )*
        }
    };
    (@call $call:expr) => {
        $call
    };
    (@call $call:expr, $then:expr) => {{
        let result = $call;
        $then;
        result
    }};
}
pub(super) use like_std;

/// Implements access to the descriptor, its surrender, and the `Debug` of std's type. `first` names
/// a method that is called before the descriptor is shown.
macro_rules! descriptor {
    ($type:ty $(, first $first:ident)?) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                $(self.$first();)?
                self.socket.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                $(self.$first();)?
                self.socket.as_raw_fd()
            }
        }

        /// Like into an [`OwnedFd`](std::os::fd::OwnedFd). The caller closes the descriptor.
        impl std::os::fd::IntoRawFd for $type {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::OwnedFd::from(self).into_raw_fd()
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

/// Implements the conversions from a descriptor, and back into std's type and a descriptor. The
/// method `share` of the type is told of the way back. `From` std's type is the type's own.
macro_rules! conversions {
    ($type:ty, $std:ty $(, #[$into_std:meta])*) => {
        /// Nothing of the socket changes.
        impl From<std::os::fd::OwnedFd> for $type {
            fn from(fd: std::os::fd::OwnedFd) -> Self {
                <$std>::from(fd).into()
            }
        }

        /// The socket is as it was.
        $(#[$into_std])*
        impl From<$type> for $std {
            fn from(ours: $type) -> Self {
                ours.share();
                ours.socket
            }
        }

        /// The socket is as it was.
        impl From<$type> for std::os::fd::OwnedFd {
            fn from(ours: $type) -> Self {
                ours.share();
                ours.socket.into()
            }
        }
    };
}
pub(super) use conversions;

/// Implements what all streams have in common, for a type with a `socket` of std's type and a
/// `state`.
macro_rules! stream_type {
    ($stream:ident, $std:ty, $path:literal) => {
        impl $stream {
            /// Returns the stream of a socket that only the caller has.
            pub(super) fn of_own(socket: $std) -> Self {
                $stream {
                    socket,
                    state: std::sync::Arc::default(),
                }
            }

            /// Notes that others may change the options of the socket from now on.
            fn share(&self) {
                self.state.known().share();
            }

            fn note_change(&self) {
                self.state.known().note_change();
            }

            #[inline]
            fn stream(&self) -> $crate::net::stream::Stream<'_> {
                let fd = std::os::fd::AsFd::as_fd(&self.socket);
                $crate::net::stream::Stream::new(fd, &self.state)
            }

            /// Takes the error that the system keeps for the socket, if there is one.
            ///
            /// Also takes the error that has ended a write after its first byte, which the next
            /// call would return: that write has taken it from the system.
            #[doc = concat!("\n\nStd's [`take_error`](", $path, "::take_error), with its errors.")]
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> {
            /// let (here, _there) = taskgroup::net::UnixStream::pair()?;
            /// assert!(here.take_error()?.is_none());
            /// # Ok(())
            /// # }
            /// ```
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                match self.state.take_kept() {
                    Some(error) => Ok(Some(error)),
                    None => self.socket.take_error(),
                }
            }
        }

        $crate::net::like_std::like_std! {
            impl $stream = $path {
                /// Shuts the reading side, the writing side, or both. Calls of other threads wake.
                fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()>;
                /// Returns how long one read waits.
                fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>>;
                /// Returns how long one write waits.
                fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>>;
                /// Sets how long one read waits. After that time it fails with `WouldBlock`.
                /// Without a limit, which is the default, it waits until data comes or the scope is
                /// cancelled.
                fn set_read_timeout(
                    &self,
                    limit: Option<std::time::Duration>
                ) -> std::io::Result<()>, then note_change;
                /// Sets how long one write waits. After that time it fails with `WouldBlock`, or
                /// returns how many bytes were written. There is no limit by default.
                fn set_write_timeout(
                    &self,
                    limit: Option<std::time::Duration>
                ) -> std::io::Result<()>, then note_change;
                /// Makes calls return `WouldBlock` instead of waiting, or wait again. Holds for all
                /// handles of the connection.
                fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()>,
                    then note_change;
            }
        }

        $crate::net::like_std::descriptor!($stream, first share);
        $crate::net::stream::read_and_write!($stream);

        /// Nothing of the connection changes.
        impl From<$std> for $stream {
            fn from(socket: $std) -> Self {
                let stream = $stream::of_own(socket);
                // The socket may have other handles.
                stream.share();
                stream
            }
        }

        $crate::net::like_std::conversions!(
            $stream,
            $std,
            #[doc = "Std's type does not know whether the stream is \
                     [broken](super#broken-streams), nor of an error that has ended a write after \
                     its first byte: see `take_error`."]
        );
    };
}
pub(super) use stream_type;

/// Implements what all datagram sockets have in common, for a type with a `socket` of std's type
/// and what is `known` of it.
macro_rules! datagram_type {
    ($sockets:ident, $std:ty, $path:literal) => {
        impl $sockets {
            /// Returns the handle of a socket that only the caller has.
            fn of_own(socket: $std) -> Self {
                $sockets {
                    socket,
                    known: std::sync::Arc::default(),
                }
            }

            /// Notes that others may change the options of the socket from now on.
            fn share(&self) {
                self.known.share();
            }

            fn note_change(&self) {
                self.known.note_change();
            }

            #[inline]
            fn datagrams(&self) -> $crate::net::datagram::Datagrams<'_> {
                let fd = std::os::fd::AsFd::as_fd(&self.socket);
                $crate::net::datagram::Datagrams::new(fd, &self.known)
            }
        }

        $crate::net::like_std::like_std! {
            impl $sockets = $path {
                /// Returns how long one receipt waits.
                fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>>;
                /// Returns how long one send waits.
                fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>>;
                /// Takes the error that the system keeps for the socket, if there is one.
                fn take_error(&self) -> std::io::Result<Option<std::io::Error>>;
                /// Sets how long one receipt waits. After that time it fails with `WouldBlock`.
                /// There is no limit by default.
                fn set_read_timeout(
                    &self,
                    limit: Option<std::time::Duration>
                ) -> std::io::Result<()>, then note_change;
                /// Sets how long one send waits. After that time it fails with `WouldBlock`. There
                /// is no limit by default.
                fn set_write_timeout(
                    &self,
                    limit: Option<std::time::Duration>
                ) -> std::io::Result<()>, then note_change;
                /// Makes calls return `WouldBlock` instead of waiting, or wait again. Holds for all
                /// handles of the socket.
                fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()>,
                    then note_change;
            }
        }

        $crate::net::like_std::descriptor!($sockets, first share);

        /// Nothing of the socket changes.
        impl From<$std> for $sockets {
            fn from(socket: $std) -> Self {
                let sockets = $sockets::of_own(socket);
                // The socket may have other handles.
                sockets.share();
                sockets
            }
        }

        $crate::net::like_std::conversions!($sockets, $std);
    };
}
pub(super) use datagram_type;

/// Implements what all listeners have in common, for a type with a `socket` of std's type and its
/// `listening`.
macro_rules! listener_type {
    ($listener:ident, $std:ty, $path:literal) => {
        impl $listener {
            /// Returns another handle of the same socket. Like std's
            #[doc = concat!("[`try_clone`](", $path, "::try_clone).")]
            ///
            /// # Errors
            ///
            /// The errors of std.
            ///
            /// ```
            #[doc = concat!("use taskgroup::net::", stringify!($listener), ";")]
            ///
            #[doc = concat!(
                        "fn handles(listener: &", stringify!($listener), ") -> std::io::Result<[",
                        stringify!($listener), "; 2]> {"
                    )]
            ///     Ok([listener.try_clone()?, listener.try_clone()?])
            /// }
            /// ```
            pub fn try_clone(&self) -> std::io::Result<Self> {
                Ok($listener {
                    socket: self.socket.try_clone()?,
                    listening: self.listening.clone(),
                })
            }

            /// Makes `accept` return `WouldBlock` while no connection waits, or makes it wait
            #[doc = concat!("again. Like std's [`set_nonblocking`](", $path, "::set_nonblocking),")]
            /// for this handle and its clones.
            ///
            /// # Errors
            ///
            /// None: it returns a `Result` because std's does.
            ///
            /// ```
            #[doc = concat!("use taskgroup::net::", stringify!($listener), ";")]
            ///
            #[doc = concat!("fn is_idle(listener: &", stringify!($listener), ") -> bool {")]
            ///     listener.set_nonblocking(true).expect("it never fails");
            ///     let error = listener.accept().err();
            ///     error.is_some_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
            /// }
            /// ```
            pub fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()> {
                self.listening.set_nonblocking(nonblocking);
                Ok(())
            }
        }

        $crate::net::like_std::like_std! {
            impl $listener = $path {
                /// Takes the error that the system keeps for the socket, if there is one.
                fn take_error(&self) -> std::io::Result<Option<std::io::Error>>;
            }
        }

        $crate::net::like_std::descriptor!($listener);

        /// Takes a listener over: its description becomes nonblocking. If it is nonblocking
        /// already, that counts as the user's wish, and `accept` does not wait.
        ///
        /// The descriptor that is handed over may share its description with others. Then
        /// the flag may also come from another handle of this crate, made from a clone of std's,
        /// or from a process that had the listener before, such as the last run of a service whose
        /// sockets the system keeps open. In both cases call `set_nonblocking(false)` on the new
        /// handle. Other handles of one process are better made by `try_clone` of this type.
        impl TryFrom<$std> for $listener {
            type Error = std::io::Error;

            fn try_from(socket: $std) -> std::io::Result<Self> {
                let fd = std::os::fd::AsFd::as_fd(&socket);
                let listening = $crate::net::listening::Listening::adopt(fd)?;
                Ok($listener { socket, listening })
            }
        }

        /// Takes a listener over, like from std's type.
        impl TryFrom<std::os::fd::OwnedFd> for $listener {
            type Error = std::io::Error;

            fn try_from(fd: std::os::fd::OwnedFd) -> std::io::Result<Self> {
                <$std>::from(fd).try_into()
            }
        }

        /// Gives the listener back with the flag that the user set. While clones of this crate
        /// exist, the description stays nonblocking.
        impl From<$listener> for $std {
            fn from(listener: $listener) -> Self {
                let fd = std::os::fd::AsFd::as_fd(&listener.socket);
                listener.listening.restore(fd);
                listener.socket
            }
        }

        /// Gives the listener back, like into std's type.
        impl From<$listener> for std::os::fd::OwnedFd {
            fn from(listener: $listener) -> Self {
                <$std>::from(listener).into()
            }
        }
    };
}
pub(super) use listener_type;
