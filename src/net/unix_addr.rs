//! Addresses of Unix sockets, between std's type and the system calls.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use super::UnixSocketAddr;

/// Returns the address in the form of the system calls.
pub(super) fn to_system(address: &UnixSocketAddr) -> io::Result<SocketAddrUnix> {
    // A pathname first: only Linux and Android have the other kind that can be reached.
    if let Some(path) = address.as_pathname() {
        return Ok(SocketAddrUnix::new(path)?);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt;

        if let Some(name) = address.as_abstract_name() {
            return Ok(SocketAddrUnix::new_abstract_name(name)?);
        }
    }

    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "a socket without a name cannot be reached by its address",
    ))
}

/// Returns the address of a path, or std's error if it cannot be one.
pub(super) fn of_path(path: &Path) -> io::Result<SocketAddrUnix> {
    to_system(&UnixSocketAddr::from_pathname(path)?)
}

/// Returns the address that the system gave, as std's type. No address is the address of a socket
/// without a name.
pub(super) fn from_system(address: Option<SocketAddrAny>) -> io::Result<UnixSocketAddr> {
    let Some(address) = address else {
        // A sender that was never bound has no address.
        return unnamed();
    };

    // By its parts: std's type has no constructor from the bytes of the system.
    let address = SocketAddrUnix::try_from(address)?;
    if let Some(path) = address.path_bytes() {
        return UnixSocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path)));
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt;

        if let Some(name) = address.abstract_name() {
            return UnixSocketAddr::from_abstract_name(name);
        }
    }

    unnamed()
}

/// std makes the address without a name of an empty path.
fn unnamed() -> io::Result<UnixSocketAddr> {
    // std makes an unnamed address of an empty path, and has no other constructor for it.
    UnixSocketAddr::from_pathname("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(address: &UnixSocketAddr) -> UnixSocketAddr {
        let system = to_system(address).unwrap();
        from_system(Some(system.into())).unwrap()
    }

    #[test]
    fn addresses_survive_the_way_to_the_system_and_back() {
        let path = UnixSocketAddr::from_pathname("a-socket").unwrap();
        assert_eq!(
            there_and_back(&path).as_pathname(),
            Some(Path::new("a-socket"))
        );

        assert!(from_system(None).unwrap().is_unnamed());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn abstract_names_survive_too() {
        use std::os::linux::net::SocketAddrExt;

        let name = UnixSocketAddr::from_abstract_name(b"a\0name").unwrap();
        assert_eq!(
            there_and_back(&name).as_abstract_name(),
            Some(b"a\0name".as_slice())
        );
    }

    #[test]
    fn a_socket_without_a_name_is_no_address() {
        let unnamed = unnamed().unwrap();
        assert!(unnamed.is_unnamed());
        let error = to_system(&unnamed).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn paths_that_are_no_address_fail_as_in_std() {
        let long = "x".repeat(200);
        for path in ["a\0b", long.as_str()] {
            let theirs = UnixSocketAddr::from_pathname(path).unwrap_err();
            let ours = of_path(Path::new(path)).unwrap_err();
            assert_eq!(ours.kind(), theirs.kind());
            assert_eq!(ours.to_string(), theirs.to_string());
        }
    }
}
