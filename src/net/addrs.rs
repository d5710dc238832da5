//! Socket addresses, and the names of hosts that are looked up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Deref;

use sealed::{Host, ToHost};

/// Something that [`lookup`](super::lookup()), and every call that takes an address, can turn into
/// socket addresses.
///
/// Like std's [`ToSocketAddrs`](std::net::ToSocketAddrs), for the same types: addresses, pairs of a
/// host and a port, texts such as `"localhost:80"` or `"[::1]:80"`, and slices of addresses; and
/// for arrays and vectors of addresses too. It is sealed. A name is copied, since the thread that
/// looks it up may be left behind.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use taskgroup::net::{ToSocketAddrs, lookup};
///
/// fn ports(hosts: impl ToSocketAddrs) -> std::io::Result<Vec<u16>> {
///     Ok(lookup(hosts)?.iter().map(|address| address.port()).collect())
/// }
/// assert_eq!(ports("127.0.0.1:80")?, [80]);
/// assert_eq!(ports(("::1", 81))?, [81]);
/// # Ok(())
/// # }
/// ```
pub trait ToSocketAddrs: ToHost {}

impl<A: ToHost + ?Sized> ToSocketAddrs for A {}

/// Keeps other crates from implementing [`ToSocketAddrs`].
pub(super) mod sealed {
    use std::io;

    use super::Addresses;

    /// Where to connect to, as far as it is known without a look-up.
    #[doc(hidden)]
    #[derive(Debug)]
    #[allow(unreachable_pub, reason = "the trait is public, and sealed")]
    pub enum Host {
        Known(Addresses),
        Name { name: String, port: u16 },
    }

    #[doc(hidden)]
    #[allow(unreachable_pub, reason = "the trait is public, and sealed")]
    pub trait ToHost {
        /// Fails as std does for a text that is neither an address nor a name with a port. Never
        /// blocks.
        fn to_host(&self) -> io::Result<Host>;
    }
}

/// Socket addresses. A single one takes no memory of its own.
#[doc(hidden)]
#[derive(Debug)]
#[allow(unreachable_pub, reason = "a part of a sealed trait")]
pub enum Addresses {
    One([SocketAddr; 1]),
    Several(Vec<SocketAddr>),
}

impl Addresses {
    pub(super) fn into_vec(self) -> Vec<SocketAddr> {
        match self {
            Addresses::One(one) => one.to_vec(),
            Addresses::Several(several) => several,
        }
    }
}

impl Deref for Addresses {
    type Target = [SocketAddr];

    fn deref(&self) -> &[SocketAddr] {
        match self {
            Addresses::One(one) => one,
            Addresses::Several(several) => several,
        }
    }
}

fn one(address: impl Into<SocketAddr>) -> io::Result<Host> {
    Ok(Host::Known(Addresses::One([address.into()])))
}

fn several(addresses: &[SocketAddr]) -> io::Result<Host> {
    Ok(Host::Known(Addresses::Several(addresses.to_vec())))
}

/// Implements the trait for types that are one address.
macro_rules! addresses {
    ($($type:ty),* $(,)?) => {
        $(impl ToHost for $type {
            fn to_host(&self) -> io::Result<Host> {
                one(*self)
            }
        })*
    };
}

addresses![
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
];

impl ToHost for [SocketAddr] {
    fn to_host(&self) -> io::Result<Host> {
        several(self)
    }
}

impl<const N: usize> ToHost for [SocketAddr; N] {
    fn to_host(&self) -> io::Result<Host> {
        several(self)
    }
}

impl ToHost for Vec<SocketAddr> {
    fn to_host(&self) -> io::Result<Host> {
        several(self)
    }
}

impl ToHost for (&str, u16) {
    fn to_host(&self) -> io::Result<Host> {
        let (name, port) = *self;

        // A number needs no resolver, so it needs no thread either.
        match name.parse::<IpAddr>() {
            Ok(ip) => one((ip, port)),
            Err(_) => Ok(Host::Name {
                name: name.to_owned(),
                port,
            }),
        }
    }
}

impl ToHost for (String, u16) {
    fn to_host(&self) -> io::Result<Host> {
        // By the form above, so that a number is recognised here as well.
        (self.0.as_str(), self.1).to_host()
    }
}

impl ToHost for str {
    fn to_host(&self) -> io::Result<Host> {
        // A number with a port needs no resolver.
        if let Ok(address) = self.parse::<SocketAddr>() {
            return one(address);
        }

        // From the right, as in std: an IPv6 address without brackets has colons of its own.
        let host = self
            .rsplit_once(':')
            .and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?)));
        match host {
            Some(host) => host.to_host(),
            // No name and port, so std looks nothing up, and returns its error.
            None => {
                let addresses = std::net::ToSocketAddrs::to_socket_addrs(self)?;
                Ok(Host::Known(Addresses::Several(addresses.collect())))
            }
        }
    }
}

impl ToHost for String {
    fn to_host(&self) -> io::Result<Host> {
        self.as_str().to_host()
    }
}

impl<A: ToHost + ?Sized> ToHost for &A {
    fn to_host(&self) -> io::Result<Host> {
        (**self).to_host()
    }
}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs as _;

    use super::*;

    #[test]
    fn numbers_need_no_look_up() {
        for text in ["127.0.0.1:80", "[::1]:80", "::1:80"] {
            let host = text.to_host().unwrap();
            let expected: Vec<_> = text.to_socket_addrs().unwrap().collect();
            assert!(
                matches!(&host, Host::Known(known) if **known == expected),
                "{text} is {host:?}"
            );
        }
        assert!(matches!(("::1", 80).to_host(), Ok(Host::Known(_))));
    }

    #[test]
    fn names_are_copied() {
        for host in [
            "localhost:80".to_host(),
            ("localhost", 80).to_host(),
            (String::from("localhost"), 80).to_host(),
        ] {
            let host = host.unwrap();
            assert!(
                matches!(&host, Host::Name { name, port: 80 } if name == "localhost"),
                "{host:?}"
            );
        }
    }

    #[test]
    fn texts_that_are_no_address_fail_as_in_std() {
        for text in ["", "localhost", "localhost:", "localhost:http", "a:65536"] {
            let ours = text.to_host().unwrap_err();
            let theirs = text.to_socket_addrs().unwrap_err();
            assert_eq!(ours.kind(), theirs.kind(), "{text}");
            assert_eq!(ours.to_string(), theirs.to_string(), "{text}");
        }
    }
}
