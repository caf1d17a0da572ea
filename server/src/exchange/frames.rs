//! Stored zstd frames that are sent as they are: who may be sent one, and which.

use hyper::header::{self, HeaderMap};

/// Frames that need a larger window are not sent: RFC 9659 promises browsers at most this.
const WINDOW_LOG_MAX: u32 = 23;

/// Whether the client names zstd among its codings, and does not refuse it.
pub(crate) fn accepts_zstd(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("zstd"));
        let refused = parts
            .filter_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .any(|q| q.parse::<f32>().map_or(true, |q| q <= 0.0));
        named && !refused
    })
}

/// Whether `frame` is one plain zstd frame of the declared size and content that any browser can decode.
pub(crate) fn decodes_to(frame: &[u8], size: u64, hash: &[u8; 32]) -> bool {
    use std::io::Read;
    use zstd::zstd_safe;
    // Skippable frames and dictionaries are excluded by the header; a second frame by the length of the first.
    let plain = frame.starts_with(&zstd_safe::MAGICNUMBER.to_le_bytes())
        && zstd_safe::get_dict_id_from_frame(frame).is_none()
        && zstd_safe::find_frame_compressed_size(frame) == Ok(frame.len());
    if !plain {
        return false;
    }
    let Ok(decoder) = zstd::Decoder::with_buffer(frame) else {
        return false;
    };
    let mut decoder = decoder.single_frame();
    if decoder.window_log_max(WINDOW_LOG_MAX).is_err() {
        return false;
    }
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return total == size && hasher.finalize() == *hash,
            Ok(count) => {
                total += count as u64;
                if total > size {
                    return false;
                }
                hasher.update(&piece[..count]);
            }
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn zstd_is_sent_only_to_who_asks() {
        for (value, accepted) in [
            ("zstd", true),
            ("gzip, br, ZSTD;q=0.5", true),
            ("gzip, zstd;q=0", false),
            ("zstd;q=nonsense", false),
            ("*", false),
            ("", false),
            ("zstdx", false),
        ] {
            assert_eq!(
                accepts_zstd(&headers(&[("accept-encoding", value)])),
                accepted,
                "{value}"
            );
        }
    }

    #[test]
    fn hostile_frames_are_not_servable() {
        let plain = b"hello hello hello hello hello".repeat(100);
        let hash = *blake3::hash(&plain).as_bytes();
        let size = plain.len() as u64;
        let good = zstd::bulk::compress(&plain, 3).unwrap();
        assert!(decodes_to(&good, size, &hash));
        assert!(!decodes_to(&good, size + 1, &hash), "other size");
        assert!(!decodes_to(&good, size - 1, &hash), "longer than declared");
        assert!(!decodes_to(&good, size, &[0; 32]), "other content");
        assert!(
            !decodes_to(&good[..good.len() - 1], size, &hash),
            "cut short"
        );
        assert!(!decodes_to(&[], 0, blake3::hash(b"").as_bytes()), "nothing");
        let twice = [good.as_slice(), &zstd::bulk::compress(b"", 3).unwrap()].concat();
        assert!(!decodes_to(&twice, size, &hash), "two frames");
        let skippable = [&[0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0], good.as_slice()].concat();
        assert!(
            !decodes_to(&skippable, size, &hash),
            "skippable frame first"
        );
    }

    #[test]
    fn a_frame_with_a_large_window_is_not_servable() {
        let plain = vec![7_u8; 20 << 20];
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        std::io::Write::write_all(&mut encoder, &plain).unwrap();
        let frame = encoder.finish().unwrap();
        assert!(!decodes_to(
            &frame,
            plain.len() as u64,
            blake3::hash(&plain).as_bytes()
        ));
    }
}
