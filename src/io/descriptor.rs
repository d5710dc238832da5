//! A descriptor with reads and writes that end with their scope.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::access::{Access, Way};
use super::cut::{Cut, WriteProgress, formatted};
use super::piece::{PIPE_BUF, Piece};
use crate::cancel::context;
use crate::waiting::WaitKind;

/// An owned descriptor, with the way to its data. The ends of pipes are made of it, whatever they
/// are called.
#[derive(Debug)]
pub(crate) struct Descriptor {
    fd: OwnedFd,
    access: Access,
    cut: Arc<Cut>,
}

impl Descriptor {
    /// Takes a descriptor of any kind: a pipe, a socket, a terminal, a file.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        // The system always knows the type of an open descriptor. If it did not tell, the calls
        // would still return the error.
        let way = Way::of(fd.as_fd()).unwrap_or(Way::Polled {
            piece: Piece::UpTo(PIPE_BUF),
        });
        Descriptor::with_way(fd, way)
    }

    pub(super) fn with_way(fd: OwnedFd, way: Way) -> Self {
        Descriptor {
            fd,
            access: Access::new(way),
            cut: Arc::default(),
        }
    }

    /// Returns another descriptor of the same description. If a write to one is cut, all are
    /// broken.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Descriptor {
            fd: self.fd.try_clone()?,
            access: self.access.of_clone(),
            cut: self.cut.clone(),
        })
    }

    #[inline]
    #[track_caller]
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buf)])
    }

    #[track_caller]
    pub(crate) fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let fd = self.fd.as_fd();
        self.access.read(WaitKind::DescriptorRead, fd, bufs)
    }

    /// Reads what there is, and never waits. Fails with `WouldBlock` if that is nothing yet.
    #[cfg(feature = "process")]
    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.access.try_read(self.fd.as_fd(), buf)
    }

    /// Writes at least one byte, perhaps fewer than `buf` has. After an error nothing was written.
    #[inline]
    #[track_caller]
    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    #[track_caller]
    pub(crate) fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        // Before each write: another handle may have broken the stream meanwhile.
        self.cut.check()?;

        let fd = self.fd.as_fd();
        self.access.write(WaitKind::DescriptorWrite, fd, bufs)
    }

    /// Writes all of `buf`. A cancel after the first byte breaks the descriptor.
    #[track_caller]
    pub(crate) fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        // For an empty `buf` too, which the loop does not write.
        context::check()?;

        let mut progress = WriteProgress::new(buf);
        while let Some(rest) = progress.rest() {
            progress.advance(self.write(rest), &self.cut)?;
        }
        Ok(())
    }

    /// Writes a text. It is formatted first, so that a short one is written in one piece.
    #[track_caller]
    pub(crate) fn write_fmt(&self, args: fmt::Arguments<'_>) -> io::Result<()> {
        self.write_all(formatted(args)?.as_bytes())
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Descriptor> for OwnedFd {
    fn from(descriptor: Descriptor) -> Self {
        descriptor.fd
    }
}

/// Implements access to the descriptor, and `Debug`, for a type with a field `descriptor`.
macro_rules! has_descriptor {
    ($type:ident) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.descriptor.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                let fd = std::os::fd::AsFd::as_fd(&self.descriptor);
                std::os::fd::AsRawFd::as_raw_fd(&fd)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let fd = std::os::fd::AsRawFd::as_raw_fd(self);
                f.debug_struct(stringify!($type)).field("fd", &fd).finish()
            }
        }
    };
}
pub(crate) use has_descriptor;

/// Implements the conversions from and into descriptors, and access to it, for a type with a field
/// `descriptor` and nothing more.
macro_rules! owns_descriptor {
    ($type:ident) => {
        $crate::io::descriptor::has_descriptor!($type);

        impl std::os::fd::IntoRawFd for $type {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::OwnedFd::from(self).into_raw_fd()
            }
        }

        impl From<std::os::fd::OwnedFd> for $type {
            fn from(fd: std::os::fd::OwnedFd) -> Self {
                $type {
                    descriptor: $crate::io::descriptor::Descriptor::new(fd),
                }
            }
        }

        impl From<$type> for std::os::fd::OwnedFd {
            fn from(owner: $type) -> Self {
                owner.descriptor.into()
            }
        }

        impl From<$type> for std::process::Stdio {
            fn from(owner: $type) -> Self {
                std::os::fd::OwnedFd::from(owner).into()
            }
        }
    };
}
pub(crate) use owns_descriptor;

/// Implements `Read` for a type with a field `descriptor`, or for a reference to it.
macro_rules! reads_descriptor {
    ($type:ty) => {
        impl std::io::Read for $type {
            #[inline]
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.descriptor.read(buf)
            }

            #[track_caller]
            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                self.descriptor.read_vectored(bufs)
            }
        }
    };
}
pub(crate) use reads_descriptor;

/// Implements `Write` for a type with a field `descriptor`, or for a reference to it.
macro_rules! writes_descriptor {
    ($type:ty) => {
        impl std::io::Write for $type {
            #[inline]
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.descriptor.write(buf)
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.descriptor.write_vectored(bufs)
            }

            #[track_caller]
            fn write_all(&mut self, buf: &[u8]) -> std::io::Result<()> {
                self.descriptor.write_all(buf)
            }

            #[track_caller]
            fn write_fmt(&mut self, args: std::fmt::Arguments<'_>) -> std::io::Result<()> {
                self.descriptor.write_fmt(args)
            }

            /// Does nothing: a descriptor has no buffer.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}
pub(crate) use writes_descriptor;
