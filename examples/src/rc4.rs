/// The RC4 stream cipher, which encrypts and decrypts alike: work that only computes. It has long
/// been broken and keeps no secret.
///
/// # Panics
///
/// If the key is empty or longer than 256 bytes.
pub fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    assert!(
        (1..=256).contains(&key.len()),
        "a key of {} bytes",
        key.len()
    );

    let mut state: [u8; 256] = std::array::from_fn(|i| i as u8);
    let mut j = 0u8;
    for i in 0..256 {
        j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
        state.swap(i, j.into());
    }

    let (mut i, mut j) = (0u8, 0u8);
    let mut next = || {
        i = i.wrapping_add(1);
        j = j.wrapping_add(state[usize::from(i)]);
        state.swap(i.into(), j.into());
        state[usize::from(state[usize::from(i)].wrapping_add(state[usize::from(j)]))]
    };
    data.iter().map(|byte| byte ^ next()).collect()
}

#[cfg(test)]
mod tests {
    use super::rc4;

    #[test]
    fn published_texts() {
        let texts: [(&str, &str, &[u8]); 3] = [
            (
                "Key",
                "Plaintext",
                &[0xbb, 0xf3, 0x16, 0xe8, 0xd9, 0x40, 0xaf, 0x0a, 0xd3],
            ),
            ("Wiki", "pedia", &[0x10, 0x21, 0xbf, 0x04, 0x20]),
            (
                "Secret",
                "Attack at dawn",
                &[
                    0x45, 0xa0, 0x1f, 0x64, 0x5f, 0xc3, 0x5b, 0x38, 0x35, 0x52, 0x54, 0x4b, 0x9b,
                    0xf5,
                ],
            ),
        ];
        for (key, text, cipher) in texts {
            assert_eq!(rc4(key.as_bytes(), text.as_bytes()), cipher, "{key}");
            assert_eq!(rc4(key.as_bytes(), cipher), text.as_bytes(), "{key}");
        }
    }

    /// The start and the end of the stream that RFC 6229 lists for the key 01 02 03 04 05.
    #[test]
    fn published_key_stream() {
        let stream = rc4(&[1, 2, 3, 4, 5], &[0; 4112]);
        assert_eq!(
            stream[..16],
            [
                0xb2, 0x39, 0x63, 0x05, 0xf0, 0x3d, 0xc0, 0x27, 0xcc, 0xc3, 0x52, 0x4a, 0x0a, 0x11,
                0x18, 0xa8
            ]
        );
        assert_eq!(
            stream[4096..],
            [
                0xff, 0x25, 0xb5, 0x89, 0x95, 0x99, 0x67, 0x07, 0xe5, 0x1f, 0xbd, 0xf0, 0x8b, 0x34,
                0xd8, 0x75
            ]
        );
    }
}
