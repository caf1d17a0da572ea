//! Files straight from the image: validators, ranges, and stored zstd frames sent as they are.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use imagefs::{Class, Image, Ino, Stat};

use crate::exchange::body::{Body, Stored};
use crate::exchange::range::{self, Selected};
use crate::site::manifest::{Manifest, SiteSection};
use crate::site::route::StaticFile;

/// Frames that need a larger window are not sent: RFC 9659 promises browsers at most this.
const WINDOW_LOG_MAX: u32 = 23;

/// Decoding more than this happens off the connection's thread.
const DECODE_INLINE_MAX: u64 = 256 * 1024;

/// What is known about a file, by inode; looked at once.
const LOOKED: u8 = 1;
const IS_DATABASE: u8 = 2;
const FRAME_CHECKED: u8 = 4;
const FRAME_GOOD: u8 = 8;

/// Sends files of one image.
#[derive(Debug)]
pub(crate) struct StaticFiles {
    image: Image,
    site: SiteSection,
    known: Vec<AtomicU8>,
}

/// The request's part that matters for a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

impl StaticFiles {
    pub(crate) fn new(image: &Image, manifest: &Manifest) -> StaticFiles {
        let known = (0..image.inode_count()).map(|_| AtomicU8::new(0)).collect();
        StaticFiles {
            image: image.clone(),
            site: manifest.site.clone(),
            known,
        }
    }

    /// Answers a GET or HEAD for a file.
    pub(crate) async fn respond(
        &self,
        request: FileRequest<'_>,
        file: &StaticFile,
    ) -> Result<Response<Body>, imagefs::Error> {
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut response = status_only(StatusCode::METHOD_NOT_ALLOWED);
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        if self.is_database(file.ino)? {
            return Ok(status_only(StatusCode::FORBIDDEN));
        }
        let stat = self.image.stat(file.ino);
        let has_range = request.headers.contains_key(header::RANGE);
        let encoded = !has_range
            && stat.class == Class::Frame
            && accepts_zstd(request.headers)
            && self.is_servable(file.ino, &stat).await?;
        let (stored, size) = if encoded {
            let frame = self.image.frame(file.ino)?.unwrap_or_default();
            (Stored::Frame, frame.len() as u64)
        } else {
            (Stored::Plain, stat.size)
        };
        let head = self.head(file, &stat, stored);
        if is_precondition_failed(request.headers, &head, &stat) {
            return Ok(status_only(StatusCode::PRECONDITION_FAILED));
        }
        if is_not_modified(request.headers, &head, &stat) {
            return Ok(not_modified(head));
        }
        let selected = range::select(request.method, request.headers, &head, size);
        self.response(request, file, &stat, head, stored, selected)
            .await
    }

    /// The headers of a file's response, whatever its status.
    fn head(&self, file: &StaticFile, stat: &Stat, stored: Stored) -> HeaderMap {
        let mut head = HeaderMap::new();
        let text = |text: &str| HeaderValue::from_str(text).expect("ASCII without controls");
        let hash = self.image.content_hash(file.ino).unwrap_or_default();
        head.insert(header::ETAG, text(&etag(&hash, stored)));
        if let Some(time) = modified(stat) {
            head.insert(header::LAST_MODIFIED, text(&httpdate::fmt_http_date(time)));
        }
        if let Ok(media_type) = HeaderValue::from_str(&file.media_type) {
            head.insert(header::CONTENT_TYPE, media_type);
        }
        head.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if stat.class == Class::Frame {
            head.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        match stored {
            Stored::Frame => {
                head.insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
            }
            Stored::Plain => {
                head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
        }
        for (pattern, headers) in &self.site.headers {
            if !pattern.matches(&file.path) {
                continue;
            }
            for (name, value) in headers {
                let name = HeaderName::from_bytes(name.as_bytes());
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                    head.insert(name, value);
                }
            }
        }
        head
    }

    async fn response(
        &self,
        request: FileRequest<'_>,
        file: &StaticFile,
        stat: &Stat,
        mut head: HeaderMap,
        stored: Stored,
        selected: Selected,
    ) -> Result<Response<Body>, imagefs::Error> {
        let (status, range) = match selected {
            Selected::Whole(range) => (StatusCode::OK, range),
            Selected::Part(range, size) => {
                let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                head.insert(header::CONTENT_RANGE, content_range.parse().expect("ASCII"));
                (StatusCode::PARTIAL_CONTENT, range)
            }
            Selected::Unsatisfiable(size) => {
                let mut response = status_only(StatusCode::RANGE_NOT_SATISFIABLE);
                let content_range = format!("bytes */{size}");
                response
                    .headers_mut()
                    .insert(header::CONTENT_RANGE, content_range.parse().expect("ASCII"));
                return Ok(response);
            }
        };
        head.insert(
            header::CONTENT_LENGTH,
            HeaderValue::from(range.end - range.start),
        );
        let body = if request.method == Method::HEAD || range.is_empty() {
            Body::empty()
        } else if stored == Stored::Plain && matches!(stat.class, Class::Frame | Class::Packed) {
            self.decoded(file.ino, stat, range).await?
        } else {
            Body::file(self.image.clone(), file.ino, stored, range)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = head;
        Ok(response)
    }

    /// A range of a file that must be decoded as a whole.
    async fn decoded(
        &self,
        ino: Ino,
        stat: &Stat,
        range: std::ops::Range<u64>,
    ) -> Result<Body, imagefs::Error> {
        let image = self.image.clone();
        let decode = move || {
            image
                .bytes(ino)
                .map(|bytes| bytes::Bytes::from(bytes.into_owned()))
        };
        let bytes = off_thread(stat.size, decode).await?;
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Ok(Body::bytes(
            bytes.slice(clamp(range.start)..clamp(range.end)),
        ))
    }

    /// Whether a file is an SQLite database, whatever its name.
    fn is_database(&self, ino: Ino) -> Result<bool, imagefs::Error> {
        let known = &self.known[ino.index() as usize];
        if known.load(Ordering::Relaxed) & LOOKED == 0 {
            let mut start = [0; 16];
            let count = self.image.read_at(ino, 0, &mut start)?;
            let found = if &start[..count] == b"SQLite format 3\0" {
                IS_DATABASE
            } else {
                0
            };
            known.fetch_or(LOOKED | found, Ordering::Relaxed);
        }
        Ok(known.load(Ordering::Relaxed) & IS_DATABASE != 0)
    }

    /// Whether the stored frame may be sent as it is: after one full decode that gave exactly the file.
    async fn is_servable(&self, ino: Ino, stat: &Stat) -> Result<bool, imagefs::Error> {
        let known = &self.known[ino.index() as usize];
        if known.load(Ordering::Relaxed) & FRAME_CHECKED == 0 {
            let (image, size) = (self.image.clone(), stat.size);
            let good = off_thread(size, move || {
                let hash = image.content_hash(ino).unwrap_or_default();
                let frame = image.frame(ino)?.unwrap_or_default();
                Ok::<_, imagefs::Error>(decodes_to(frame, size, &hash))
            })
            .await?;
            known.fetch_or(
                FRAME_CHECKED | if good { FRAME_GOOD } else { 0 },
                Ordering::Relaxed,
            );
        }
        Ok(known.load(Ordering::Relaxed) & FRAME_GOOD != 0)
    }
}

/// Runs a decode here or, when it may take long, on a thread for such things.
async fn off_thread<T: Send + 'static>(size: u64, work: impl FnOnce() -> T + Send + 'static) -> T {
    if size <= DECODE_INLINE_MAX {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// Whether `frame` is one plain zstd frame of the declared size and content that any browser can decode.
fn decodes_to(frame: &[u8], size: u64, hash: &[u8; 32]) -> bool {
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

/// A strong validator: 128 bits derived from the content's hash, so that it says nothing else about the content.
fn etag(hash: &[u8; 32], stored: Stored) -> String {
    let derived = blake3::derive_key("zapp 2026-11 entity tag of a static file", hash);
    let mut text = String::with_capacity(40);
    text.push('"');
    for byte in &derived[..16] {
        text.push_str(&format!("{byte:02x}"));
    }
    if stored == Stored::Frame {
        text.push_str("-zstd");
    }
    text.push('"');
    text
}

fn modified(stat: &Stat) -> Option<SystemTime> {
    // httpdate cannot write years after 9999.
    let seconds = u64::try_from(stat.mtime)
        .ok()
        .filter(|&s| s < 253_402_300_800)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Whether a list of entity tags names ours. Weak tags match only in a weak comparison (RFC 9110, 8.8.3.2).
fn names_tag(headers: &HeaderMap, name: &HeaderName, head: &HeaderMap, is_weak: bool) -> bool {
    let own = head
        .get(header::ETAG)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let values = headers.get_all(name).iter();
    values
        .flat_map(|v| v.as_bytes().split(|&b| b == b','))
        .any(|tag| {
            let tag = tag.trim_ascii();
            let strong = tag.strip_prefix(b"W/").filter(|_| is_weak).unwrap_or(tag);
            tag == b"*" || strong == own
        })
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let text = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok()
}

/// RFC 9110, 13.2.2: `If-Match` decides when there is one, `If-Unmodified-Since` only otherwise.
fn is_precondition_failed(headers: &HeaderMap, head: &HeaderMap, stat: &Stat) -> bool {
    if headers.contains_key(header::IF_MATCH) {
        return !names_tag(headers, &header::IF_MATCH, head, false);
    }
    match (date(headers, &header::IF_UNMODIFIED_SINCE), modified(stat)) {
        (Some(since), Some(modified)) => modified > since,
        _ => false,
    }
}

/// RFC 9110, 13.2.2: the entity tag decides when there is one, the date only otherwise.
fn is_not_modified(headers: &HeaderMap, head: &HeaderMap, stat: &Stat) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        return names_tag(headers, &header::IF_NONE_MATCH, head, true);
    }
    match (date(headers, &header::IF_MODIFIED_SINCE), modified(stat)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

fn not_modified(mut head: HeaderMap) -> Response<Body> {
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::ACCEPT_RANGES,
    ] {
        head.remove(name);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = head;
    response
}

/// A response of a status without more; the caller gives it a page.
pub(crate) fn status_only(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Whether the client names zstd among its codings, and does not refuse it.
fn accepts_zstd(headers: &HeaderMap) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn tags_differ_between_encodings_and_contents() {
        let tags = [
            etag(&[1; 32], Stored::Plain),
            etag(&[1; 32], Stored::Frame),
            etag(&[2; 32], Stored::Plain),
        ];
        assert!(tags[0] != tags[1] && tags[0] != tags[2]);
        assert_eq!(tags[0].len(), 34);
        assert!(
            !tags[0].contains("0101"),
            "the content's hash does not show"
        );
    }
}
