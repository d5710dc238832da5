//! Descriptors in words: files, pipes, and sockets with their peers.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The tables of the sockets of this network namespace, with the names of their protocols. Those
/// that take the system long to write come last.
const TABLES: &[(&str, &str)] = &[
    ("unix", "Unix"),
    ("udp", "UDP"),
    ("udp6", "UDP"),
    ("tcp", "TCP"),
    ("tcp6", "TCP"),
];

/// The sockets of the process, read from the system once for a snapshot.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    by_inode: HashMap<u64, String>,
    /// How many of the tables were read.
    read: usize,
}

impl Sockets {
    /// Describes a descriptor of this process, as far as the system tells.
    pub(super) fn describe(&mut self, descriptor: i32) -> String {
        let link = fs::read_link(format!("/proc/self/fd/{descriptor}"));
        let Some(link) = link
            .ok()
            .and_then(|link| link.into_os_string().into_string().ok())
        else {
            return format!("fd {descriptor}");
        };

        // The link names the kind. Only for a socket is a table read, which says where it leads.
        let what = if let Some(inode) = number_in(&link, "socket:[") {
            self.socket(inode)
        } else if link.starts_with("pipe:[") {
            "a pipe".to_owned()
        } else if let Some(kind) = link.strip_prefix("anon_inode:") {
            kind.trim_matches(['[', ']']).to_owned()
        } else {
            link
        };
        format!("fd {descriptor}, {what}")
    }

    fn socket(&mut self, inode: u64) -> String {
        loop {
            if let Some(text) = self.by_inode.get(&inode) {
                return text.clone();
            }
            let Some((file, name)) = TABLES.get(self.read) else {
                return "a socket".to_owned();
            };

            // The tables are read one by one, and only if a thread is in a call on a socket. A
            // table that cannot be read leaves its sockets without peers.
            self.read += 1;
            let table = fs::read(format!("/proc/self/net/{file}")).unwrap_or_default();
            // The path of a Unix socket, of any process, may have any bytes.
            let table = String::from_utf8_lossy(&table);
            let rows = table.lines().skip(1).filter_map(|row| match *name {
                "Unix" => unix_socket(row),
                name => internet(row, name),
            });
            self.by_inode.extend(rows);
        }
    }
}

fn number_in(link: &str, prefix: &str) -> Option<u64> {
    link.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

/// Reads a row of the table of a protocol.
fn internet(row: &str, name: &str) -> Option<(u64, String)> {
    const LISTENS: &str = "0A";

    // Number, local address, remote address, state; the inode is the tenth.
    let fields: Vec<_> = row.split_whitespace().collect();
    let (local, remote) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
    let inode = fields.get(9)?.parse().ok()?;

    // A socket that is not connected has the remote port 0.
    let text = if name == "TCP" && *fields.get(3)? == LISTENS {
        format!("a TCP listener on {local}")
    } else if remote.port() == 0 {
        format!("a {name} socket on {local}")
    } else {
        format!("a {name} socket to {remote}")
    };
    Some((inode, text))
}

/// Reads an address as the kernel writes it: words of the machine in hexadecimal digits.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;

    // The bytes of a word are in the order of the network, so those in memory are the address.
    let words = ip.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word)
            .ok()
            .filter(|word| word.len() == 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    });

    let octets = words.collect::<Option<Vec<_>>>()?.concat();

    let ip = match octets.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
        _ => return None,
    };

    Some(SocketAddr::new(
        ip.to_canonical(),
        u16::from_str_radix(port, 16).ok()?,
    ))
}

fn unix_socket(row: &str) -> Option<(u64, String)> {
    // Six columns, the inode, and the path, which may have spaces.
    let mut rest = row;
    for _ in 0..6 {
        (_, rest) = rest.trim_start().split_once(' ')?;
    }

    let rest = rest.trim();
    let (inode, path) = rest.split_once(' ').unwrap_or((rest, ""));

    // A socket without a name has no path.
    let text = match path {
        "" => "a Unix socket".to_owned(),
        path => format!("a Unix socket on {path}"),
    };
    Some((inode.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let local = if cfg!(target_endian = "little") {
            "0100007F:1F90"
        } else {
            "7F000001:1F90"
        };
        assert_eq!(address(local), Some(([127, 0, 0, 1], 8080).into()));
        assert_eq!(address("x:1"), None);
        let row = "ffff: 00000002 00000000 00010000 0001 01  4711 sockets/a b";
        let named = (4711, "a Unix socket on sockets/a b".to_owned());
        assert_eq!(unix_socket(row), Some(named));
        let row = "ffff: 00000003 00000000 00000000 0001 03 4712";
        assert_eq!(unix_socket(row), Some((4712, "a Unix socket".to_owned())));
        assert_eq!(address("01:1"), None);
    }
}
