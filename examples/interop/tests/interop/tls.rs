//! rustls over streams of this crate, with a real peer on the loopback interface.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use taskgroup::net::{TcpListener, TcpStream};
use taskgroup::{CancelToken, Cancelled};

use crate::support::{LONG, watch};
use crate::{assert_cancel, cancelled_during};

/// Made for `localhost`, for these tests alone.
pub(crate) const CERTIFICATE: &[u8] = include_bytes!("tls/certificate.pem");
const KEY: &[u8] = include_bytes!("tls/key.pem");

type Client = StreamOwned<ClientConnection, TcpStream>;
type Server = StreamOwned<ServerConnection, TcpStream>;

/// Returns the two sides of a connection before its handshake.
pub(crate) fn sides() -> (ClientConnection, ServerConnection) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    (
        ClientConnection::new(client.into(), name).unwrap(),
        ServerConnection::new(server.into()).unwrap(),
    )
}

/// Returns both ends of a connection after its handshake.
fn pair() -> (Client, Server) {
    let (client, server) = sides();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut client = StreamOwned::new(client, stream);
    let stream = listener.accept().unwrap().0;
    let mut server = StreamOwned::new(server, stream);

    // A byte each way ends the handshake.
    let shaking = thread::spawn(move || {
        server.read_exact(&mut [0]).unwrap();
        server.write_all(b"!").unwrap();
        server.flush().unwrap();
        server
    });

    client.write_all(b"?").unwrap();
    client.read_exact(&mut [0]).unwrap();
    (client, shaking.join().unwrap())
}

#[test]
fn a_cancelled_read_is_no_end_of_the_stream_and_the_next_one_goes_on() {
    let _watch = watch();
    let (mut client, mut server) = pair();
    for _ in 0..20 {
        let read = || Ok(client.read(&mut [0; 16])?);
        let error = cancelled_during(read, || ());
        assert_cancel(&error);
        server.write_all(b"whole").unwrap();
        let mut text = [0; 5];
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"whole");
    }
}

#[test]
fn a_handshake_without_a_peer_ends() {
    let _watch = watch();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut client, _) = sides();
    let shake = || Ok(client.complete_io(&mut stream)?);
    assert_cancel(&cancelled_during(shake, || ()));
}

#[test]
fn a_cancelled_write_says_ok_and_the_flush_tells() {
    let _watch = watch();
    let (mut client, mut server) = pair();
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        // rustls has taken the bytes, and hides the error of the stream below.
        assert_eq!(client.write(b"once").unwrap(), 4);
        let error = client.flush().unwrap_err();
        assert!(Cancelled::find(&error).is_some());
        assert!(client.write(b"more").is_err());
    });

    // Not a byte had left, so nothing is broken: the bytes leave with the next flush, once.
    client.flush().unwrap();
    client.write_all(b".").unwrap();
    let mut text = [0; 5];
    server.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"once.");
}

#[test]
fn a_write_to_a_peer_that_does_not_read_ends_and_the_drop_does_not_block() {
    let _watch = watch();
    let (mut client, server) = pair();

    // One write to the stream below is of more than the system takes, so it is cut after its first
    // byte.
    set_socket_send_buffer_size(&client.sock, 1 << 14).unwrap();
    set_socket_recv_buffer_size(&server.sock, 1 << 14).unwrap();
    client.conn.set_buffer_limit(None);
    client.conn.writer().write_all(&[0; 4 << 20]).unwrap();
    let error = cancelled_during(
        || Ok(client.flush()?),
        || _ = server.sock.peek(&mut [0]).unwrap(),
    );
    assert_cancel(&error);

    // The stream below is broken.
    let error = client.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");

    // No `close_notify` waits for room.
    drop(client);
    drop(server);
}

#[test]
fn the_end_of_a_connection_is_told_in_a_shield_after_a_cancel() {
    let _watch = watch();
    for is_told in [true, false] {
        let (mut client, mut server) = pair();
        let token = CancelToken::new();
        token.run(|| {
            token.cancel();
            if is_told {
                client.conn.send_close_notify();
                taskgroup::shield_for(LONG, || client.flush()).unwrap();
            }
            drop(client);
        });
        match server.read(&mut [0]) {
            Ok(length) => assert!(is_told && length == 0),
            // The drop alone tells nothing.
            Err(error) => assert!(!is_told && error.kind() == ErrorKind::UnexpectedEof),
        }
    }
}
