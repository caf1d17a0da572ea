//! Files straight from the image: validators, ranges, and stored zstd frames sent as they are.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use imagefs::{Class, Image, Ino, Stat};

use crate::exchange::body::{Body, Stored, Touched};
use crate::exchange::buffers::{Buffers, Exhausted};
use crate::exchange::frames::{accepts_zstd, decodes_to};
use crate::exchange::range::{self, Selected};
use crate::exchange::status::{method_not_allowed, status_only, unavailable};
use crate::exchange::validators::{
    etag, is_not_modified, is_precondition_failed, modified, not_modified,
};
use crate::site::manifest::{Manifest, SiteSection};
use crate::site::route::StaticFile;

/// What is known about a file, by inode; looked at once.
const LOOKED: u8 = 1;
const IS_DATABASE: u8 = 2;
const FRAME_CHECKED: u8 = 4;
const FRAME_GOOD: u8 = 8;
/// All its bytes as it is stored have been hashed.
const TOUCHED: u8 = 16;

/// Sends files of one image.
#[derive(Debug)]
pub(crate) struct StaticFiles {
    image: Image,
    site: SiteSection,
    /// The time that says nothing of a file.
    given_mtime: Option<i64>,
    known: Arc<[AtomicU8]>,
}

/// The request's part that matters for a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// The budget for what has to be decoded as a whole.
    pub(crate) buffers: &'a Buffers,
}

impl StaticFiles {
    pub(crate) fn new(image: &Image, manifest: &Manifest) -> StaticFiles {
        let known = (0..image.inode_count()).map(|_| AtomicU8::new(0)).collect();
        StaticFiles {
            image: image.clone(),
            site: manifest.site.clone(),
            given_mtime: image.given_mtime(),
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
            return Ok(method_not_allowed("GET, HEAD"));
        }
        if self.is_database(file.ino).await? {
            return Ok(status_only(StatusCode::FORBIDDEN));
        }
        let stat = self.image.stat(file.ino);
        let has_range = request.headers.contains_key(header::RANGE);
        let encoded = !has_range
            && !is_gzipped(file)
            && stat.class == Class::Frame
            && accepts_zstd(request.headers)
            && self.is_servable(file.ino, &stat).await?;
        let (stored, size) = if encoded {
            let frame = self.image.frame(file.ino)?.unwrap_or_default();
            (Stored::Frame, frame.len() as u64)
        } else {
            (Stored::Plain, stat.size)
        };
        let modified = modified(&stat, self.given_mtime);
        let head = self.head(file, &stat, modified, stored);
        if is_precondition_failed(request.headers, &head, modified) {
            return Ok(status_only(StatusCode::PRECONDITION_FAILED));
        }
        if is_not_modified(request.headers, &head, modified) {
            return Ok(not_modified(head));
        }
        let selected = range::select(request.method, request.headers, &head, size);
        self.response(request, file, &stat, head, stored, selected)
            .await
    }

    /// The headers of a file's response, whatever its status.
    fn head(
        &self,
        file: &StaticFile,
        stat: &Stat,
        modified: Option<SystemTime>,
        stored: Stored,
    ) -> HeaderMap {
        let mut head = HeaderMap::new();
        let text = |text: &str| HeaderValue::from_str(text).expect("ASCII without controls");
        let hash = self.image.content_hash(file.ino).unwrap_or_default();
        head.insert(header::ETAG, text(&etag(&hash, stored)));
        if let Some(time) = modified {
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
                if is_gzipped(file) {
                    head.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
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
            match self.decoded(file.ino, stat, range, request.buffers).await? {
                Ok(body) => body,
                Err(Exhausted) => return Ok(unavailable()),
            }
        } else {
            let touched = self.touched(file.ino, stat);
            Body::file(self.image.clone(), file.ino, stored, range, touched)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = head;
        Ok(response)
    }

    /// A range of a file that must be decoded as a whole. The whole takes its part of the budget while it is decoded, the
    /// range until it is sent.
    async fn decoded(
        &self,
        ino: Ino,
        stat: &Stat,
        range: Range<u64>,
        buffers: &Buffers,
    ) -> Result<Result<Body, Exhausted>, imagefs::Error> {
        let image = self.image.clone();
        let mut hold = buffers.hold();
        if let Err(exhausted) = hold.grow(usize::try_from(stat.size).unwrap_or(usize::MAX)) {
            return Ok(Err(exhausted));
        }
        let decode = move || -> Result<Body, imagefs::Error> {
            let bytes = image.bytes(ino)?;
            let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            let (start, end) = (clamp(range.start), clamp(range.end));
            let part = if end - start == bytes.len() {
                Bytes::from(bytes.into_owned())
            } else {
                // A slice of the whole would keep all of it.
                Bytes::copy_from_slice(&bytes[start..end])
            };
            hold.shrink(part.len());
            Ok(Body::bytes(part).holding(hold))
        };
        off_thread(decode).await.map(Ok)
    }

    /// What is known of the bytes of a file; nothing when they must be decoded each time.
    fn touched(&self, ino: Ino, stat: &Stat) -> Option<Touched> {
        let is_decoded = matches!(stat.class, Class::Blocks | Class::Sparse);
        (!is_decoded).then(|| Touched {
            files: Arc::clone(&self.known),
            index: ino.index() as usize,
            bit: TOUCHED,
            size: stat.size,
        })
    }

    /// Whether a file is an SQLite database, whatever its name.
    async fn is_database(&self, ino: Ino) -> Result<bool, imagefs::Error> {
        let known = &self.known[ino.index() as usize];
        if known.load(Ordering::Relaxed) & LOOKED == 0 {
            let image = self.image.clone();
            let is_one = off_thread(move || {
                let mut start = [0; 16];
                let count = image.read_at(ino, 0, &mut start)?;
                Ok::<_, imagefs::Error>(&start[..count] == b"SQLite format 3\0")
            });
            let found = if is_one.await? { IS_DATABASE } else { 0 };
            known.fetch_or(LOOKED | found, Ordering::Relaxed);
        }
        Ok(known.load(Ordering::Relaxed) & IS_DATABASE != 0)
    }

    /// Whether the stored frame may be sent as it is: after one full decode that gave exactly the file.
    async fn is_servable(&self, ino: Ino, stat: &Stat) -> Result<bool, imagefs::Error> {
        let known = &self.known[ino.index() as usize];
        if known.load(Ordering::Relaxed) & FRAME_CHECKED == 0 {
            let (image, size) = (self.image.clone(), stat.size);
            let good = off_thread(move || {
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

/// Runs what hashes or decodes on a thread for such things. Even a small file may need a large block to be decoded.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// Whether a file's name says that its type is that of what has been compressed: the W3C's media type of SVG wants `.svgz`
/// sent so, and browsers show nothing else. Other names of compressed files have types of their own.
fn is_gzipped(file: &StaticFile) -> bool {
    let name = file.path.to_ascii_lowercase();
    name.ends_with(b".svgz") && file.media_type.starts_with("image/svg+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    use http_body_util::BodyExt;
    use hyper::body::Body as _;
    use imagefs::scan::{MtimePolicy, ScanOptions, scan};
    use imagefs::writer::{PackOptions, pack};
    use std::pin::Pin;
    use std::task::{Context, Waker};

    /// An image with one file, stored in a class of its own.
    fn image(name: &str, content: &[u8], class: Class) -> (Image, StaticFile) {
        timed(name, content, class, MtimePolicy::Keep)
    }

    fn timed(name: &str, content: &[u8], class: Class, mtime: MtimePolicy) -> (Image, StaticFile) {
        let folder = tempfile::tempdir().unwrap();
        let (tree, path) = (folder.path().join("tree"), folder.path().join("image"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join(name), content).unwrap();
        let options = PackOptions {
            classes: vec![("*".to_owned(), class)],
            given_mtime: mtime.given(),
            ..PackOptions::default()
        };
        let scanning = ScanOptions {
            mtime,
            ..ScanOptions::default()
        };
        let tree = scan(&tree, &scanning).unwrap().tree;
        pack(tree, &options, &path, &|_| (), &false.into()).unwrap();
        let image = Image::ingest(&path).unwrap();
        let file = StaticFile {
            ino: image.lookup(name.as_bytes()).unwrap(),
            path: format!("/{name}").into_bytes(),
            media_type: "text/plain".to_owned(),
        };
        (image, file)
    }

    async fn get(
        files: &StaticFiles,
        file: &StaticFile,
        range: Option<&'static str>,
        buffers: &Buffers,
    ) -> Response<Body> {
        let range = range.map(|range| (header::RANGE, HeaderValue::from_static(range)));
        let request = FileRequest {
            method: &Method::GET,
            headers: &range.into_iter().collect(),
            buffers,
        };
        files.respond(request, file).await.unwrap()
    }

    /// A response to a GET with these headers.
    async fn with(
        files: &StaticFiles,
        file: &StaticFile,
        headers: &[(HeaderName, &'static str)],
    ) -> Response<Body> {
        let pair = |(name, value): &(HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        let request = FileRequest {
            method: &Method::GET,
            headers: &headers.iter().map(pair).collect(),
            buffers: &Buffers::new(1 << 20),
        };
        files.respond(request, file).await.unwrap()
    }

    // case reported-stale-304-after-swap
    #[tokio::test]
    async fn a_time_that_all_files_have_validates_nothing() {
        const DATE: &str = "Tue, 01 Jan 1980 00:00:00 GMT";
        const DAY: i64 = 24 * 60 * 60;
        let range = (header::RANGE, "bytes=5-");
        // By --mtime, and by a SOURCE_DATE_EPOCH that is older than the file.
        for policy in [MtimePolicy::Fixed(DAY), MtimePolicy::Clamp(DAY)] {
            let (image, file) = timed("a.txt", b"0123456789", Class::Raw, policy);
            let files = StaticFiles::new(&image, &Manifest::of_image(&image).unwrap());
            for (headers, status) in [
                (&[][..], 200),
                (&[(header::IF_MODIFIED_SINCE, DATE)], 200),
                (
                    &[(header::IF_UNMODIFIED_SINCE, "Thu, 01 Jan 1970 00:00:00 GMT")],
                    200,
                ),
                (&[(header::IF_RANGE, DATE), range.clone()], 200),
                (std::slice::from_ref(&range), 206),
            ] {
                let reply = with(&files, &file, headers).await;
                assert_eq!(reply.status(), status, "{headers:?}");
                assert!(reply.headers().get(header::LAST_MODIFIED).is_none());
                assert!(reply.headers().get(header::ETAG).is_some());
            }
        }
    }

    // case reported-svgz-encoding
    #[tokio::test]
    async fn a_compressed_drawing_is_sent_as_one() {
        for (name, media_type, coding) in [
            ("p.svgz", "image/svg+xml", Some("gzip")),
            ("P.SVGZ", "image/svg+xml", Some("gzip")),
            ("p.svg", "image/svg+xml", None),
            ("p.svgz", "application/gzip", None),
            ("p.gz", "application/gzip", None),
        ] {
            for class in [Class::Raw, Class::Frame] {
                let (image, mut file) = image(name, &b"text ".repeat(100), class);
                file.media_type = media_type.to_owned();
                let files = StaticFiles::new(&image, &Manifest::of_image(&image).unwrap());
                let reply = with(&files, &file, &[(header::ACCEPT_ENCODING, "gzip")]).await;
                let found = reply.headers().get(header::CONTENT_ENCODING);
                let found = found.map(|value| value.to_str().unwrap());
                assert_eq!(found, coding, "{name} {media_type}");
                // Not compressed a second time: the client would take off one layer only.
                let zstd = [(header::ACCEPT_ENCODING, "gzip, zstd")];
                let reply = with(&files, &file, &zstd).await;
                let found = reply.headers().get(header::CONTENT_ENCODING);
                assert_eq!(found.is_some_and(|v| v == "gzip"), coding.is_some());
            }
        }
    }

    /// Whether the next piece of a body is there at once.
    fn is_there(body: &mut Body) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(body).poll_frame(&mut context).is_ready()
    }

    #[test]
    fn what_must_be_hashed_first_is_read_elsewhere_and_a_copy_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build();
        runtime.unwrap().block_on(first_and_second_touch());
    }

    async fn first_and_second_touch() {
        let content = vec![b'x'; 300_000];
        let (image, file) = image("a.txt", &content, Class::Raw);
        let files = StaticFiles::new(&image, &Manifest::of_image(&image).unwrap());
        let buffers = Buffers::new(1 << 20);
        let mut part = get(&files, &file, Some("bytes=0-9"), &buffers).await;
        let mut whole = get(&files, &file, None, &buffers).await;
        // The threads that read are busy, so that none is done before it is looked at.
        let (release, wait) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || wait.recv());
        assert!(!is_there(part.body_mut()), "the first touch");
        assert!(!is_there(whole.body_mut()), "the rest is not known yet");
        drop(release);
        let read = whole.into_body().collect().await.unwrap().to_bytes();
        assert!(read == content);
        let mut again = get(&files, &file, None, &buffers).await;
        assert!(is_there(again.body_mut()), "all of it is known");
    }

    #[tokio::test]
    async fn a_part_of_what_is_decoded_holds_no_more_than_itself() {
        let content = b"some text ".repeat(30_000);
        let (image, file) = image("a.txt", &content, Class::Frame);
        let files = StaticFiles::new(&image, &Manifest::of_image(&image).unwrap());
        let buffers = Buffers::new(content.len() as u64);
        let part = get(&files, &file, Some("bytes=5-8"), &buffers).await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(buffers.held(), 4);
        // While this byte is held there is no room to decode the whole again.
        let refused = get(&files, &file, Some("bytes=0-0"), &buffers).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = part.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&text[..], b"text");
        // case limits-02-static-bodies-not-in-buffers: the body is over, and who took its bytes still has them.
        assert_eq!(buffers.held(), 4);
        drop(text);
        assert_eq!(buffers.held(), 0);
        let whole = get(&files, &file, None, &buffers).await;
        assert_eq!(buffers.held(), content.len() as u64);
        drop(whole);
        assert_eq!(buffers.held(), 0);
    }
}
