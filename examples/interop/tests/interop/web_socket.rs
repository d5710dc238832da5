//! tungstenite over streams of this crate, with a real peer on the loopback interface.

use std::io::Write;
use std::thread;

use taskgroup::CancelToken;
use taskgroup::net::{TcpListener, TcpStream};
use tungstenite::{Message, WebSocket};

use crate::support::{LONG, watch};
use crate::{assert_cancel, cancelled_during};

type Socket = WebSocket<TcpStream>;

/// Returns both ends of a connection after its handshake: the client's and the server's.
fn pair() -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepting =
        thread::spawn(move || tungstenite::accept(listener.accept().unwrap().0).unwrap());
    let (client, _) = tungstenite::client("ws://localhost/", stream).unwrap();
    (client, accepting.join().unwrap())
}

/// Sends these bytes below the messages.
fn send(socket: &mut Socket, bytes: &[u8]) {
    socket.get_mut().write_all(bytes).unwrap();
}

#[test]
fn a_cancelled_read_ends_between_two_messages() {
    let _watch = watch();
    let (mut client, mut server) = pair();
    for round in 0..20 {
        assert_cancel(&cancelled_during(|| Ok(client.read()?), || ()));
        let message = Message::text(format!("message {round}"));
        server.send(message.clone()).unwrap();
        assert_eq!(client.read().unwrap(), message);
    }
}

#[test]
fn a_read_that_was_cut_in_a_frame_gets_the_whole_of_it_later() {
    let _watch = watch();
    let (mut client, mut server) = pair();

    // A text frame of ten bytes, cut after each of its bytes.
    let frame = [b"\x81\x0a".as_slice(), b"0123456789"].concat();
    for cut in 1..frame.len() {
        send(&mut server, &frame[..cut]);
        assert_cancel(&cancelled_during(|| Ok(client.read()?), || ()));
        send(&mut server, &frame[cut..]);
        assert_eq!(
            client.read().unwrap(),
            Message::text("0123456789"),
            "cut after {cut}"
        );
    }
}

#[test]
fn a_handshake_that_is_not_answered_ends() {
    let _watch = watch();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let shake = || match tungstenite::client("ws://localhost/", stream) {
        Ok(_) => Ok(()),
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error.into()),
        Err(interrupted) => panic!("{interrupted}: the stream never says `WouldBlock`"),
    };
    assert_cancel(&cancelled_during(shake, || ()));
}

#[test]
fn a_send_to_a_peer_that_does_not_read_ends_and_breaks_the_connection() {
    let _watch = watch();
    let (mut client, server) = pair();

    // One write, of more than the system takes. The peer has seen its first byte, so it is cut.
    let message = Message::binary(vec![0; 32 << 20]);
    let error = cancelled_during(
        || Ok(client.send(message.clone())?),
        || _ = server.get_ref().peek(&mut [0]).unwrap(),
    );

    assert_cancel(&error);
    let again = client.send(message.clone()).unwrap_err();
    let tungstenite::Error::Io(again) = again else {
        panic!("{again}")
    };
    assert_eq!(again.kind(), std::io::ErrorKind::BrokenPipe, "{again}");
}

#[test]
fn a_send_that_was_cut_before_its_first_byte_goes_out_with_the_next() {
    let _watch = watch();
    let (mut client, mut server) = pair();
    let token = CancelToken::new();
    token.cancel();
    let cut = token.run(|| client.send(Message::text("first")));
    assert_cancel(&cut.unwrap_err().into());

    // tungstenite has kept the message, so a second send of it would send it twice.
    client.send(Message::text("second")).unwrap();
    for text in ["first", "second"] {
        assert_eq!(server.read().unwrap(), Message::text(text));
    }
}

#[test]
fn a_goodbye_in_a_shield_reaches_the_peer_after_a_cancel() {
    let _watch = watch();
    let (mut client, mut server) = pair();
    let token = CancelToken::new();
    let goodbye = token.run(|| {
        token.cancel();
        taskgroup::shield_for(LONG, || {
            client.close(None)?;
            client.flush()
        })
    });
    goodbye.unwrap();
    assert!(matches!(server.read().unwrap(), Message::Close(None)));
}
