//! Snapshots behind a site's own bootstrap: for a request that may go on from there, the site has loaded already.
//!
//! One for each address (scheme and host as the client wrote it), because a site may build links from it while it loads.
//! The first request for an address orders its snapshot and is answered from the default one, as is every request that
//! may not use it: other methods and scripts, bodies, and what WordPress looks at before it is loaded.
//!
//! ```text
//! default ──▶ each warm-up request, for this address ──▶ the front page, frozen where the site calls zapp_freeze()
//! ```
//!
//! A site may compute before the freeze what depends on the image, the scheme and the host, and nothing else. Four nets
//! hold that: a request that has a parameter or a cookie which some script names does not go on (`named.rs`); the guest refuses to freeze when a session is open or a cookie set; a new snapshot must answer the warm-up
//! requests, asked by somebody else, and those of random strangers, byte for byte as the default one does; and the path, the
//! query, a cookie and the browser of the request that froze are a random word, which must never be in an answer.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use imagefs::Image;
use sandbox::{Finished, Instance, Request, Snapshot, WrittenPages};

use crate::load::describe;
use crate::named::Named;
use crate::setup::{Bootstrap, BootstrapKind, Pairs};
use crate::stranger;
use crate::variables::{last, uri, value, with};

/// Tells the guest what to do with a warm-up request.
const VARIABLE: &[u8] = b"ZAPP_BOOTSTRAP";

/// Addresses that have snapshots at once; each costs the memory of one instance. Host names come from clients.
const ADDRESSES_MAX: usize = 4;
/// An address nobody has asked for this long gives its place to another.
const IDLE: Duration = Duration::from_secs(60);
/// After this a snapshot is made anew, and one that was refused is tried again: a site may look at the date while it loads.
const STALE: Duration = Duration::from_secs(3600);

/// Requests of strangers by which a new snapshot is compared with the default one.
const STRANGERS: usize = 20;

/// Who asks for the warm-up pages when a new snapshot is compared.
const VISITOR: [(&str, &str); 2] = [
    ("HTTP_USER_AGENT", "zapp-check"),
    ("REMOTE_ADDR", "192.0.2.7"),
];

/// Variables that make an address.
const ADDRESS: [&[u8]; 5] = [
    b"REQUEST_SCHEME",
    b"HTTPS",
    b"HTTP_HOST",
    b"SERVER_NAME",
    b"SERVER_PORT",
];

/// Cookies that WordPress or its usual plugins look at while loading: somebody is logged in, or has a cart.
const COOKIES: [&[u8]; 4] = [b"wordpress", b"wp-", b"wp_", b"woocommerce"];

/// Query parameters that WordPress looks at while loading: the customiser, previews, tests of scripts.
const PARAMETERS: [&[u8]; 6] = [
    b"wp_customize",
    b"customize_",
    b"wp_scrape_",
    b"wp_theme_preview",
    b"doing_wp_cron",
    b"_wp-find-template",
];

/// Values of the variables of [`ADDRESS`] that a request has.
type Address = Pairs;

/// Where an address stands.
#[derive(Debug)]
struct Entry {
    address: Address,
    /// Missing while it is made for the first time, and when it was refused.
    made: Option<Made>,
    /// When the last order was carried out; missing while one waits.
    settled: Option<Instant>,
    used: Instant,
}

/// A snapshot, and the word that must not appear.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) snapshot: Snapshot,
    word: Arc<[u8]>,
}

impl Made {
    /// Whether an answer holds what belonged to the request that froze.
    pub(crate) fn shows_in(&self, finished: &Finished) -> bool {
        let holds = |bytes: &[u8]| memchr::memmem::find(bytes, &self.word).is_some();
        let in_head =
            |response: &sandbox::Response| response.headers.iter().any(|(_, value)| holds(value));
        holds(&finished.stdout) || finished.response.as_ref().is_some_and(in_head)
    }
}

/// All snapshots behind the bootstrap of one site.
#[derive(Debug)]
pub(crate) struct Bootstraps {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Address>,
}

#[derive(Debug)]
struct Shared {
    plan: Bootstrap,
    warmup: Vec<Pairs>,
    default: Snapshot,
    image: Image,
    /// What scripts ask for by name; read before the first snapshot is made.
    named: OnceLock<Named>,
    entries: Mutex<Vec<Entry>>,
}

impl Bootstraps {
    /// Starts the thread that makes snapshots, and orders those of the site's own host names.
    pub(crate) fn start(
        plan: &Bootstrap,
        warmup: &[Pairs],
        default: &Snapshot,
        image: &Image,
    ) -> anyhow::Result<Bootstraps> {
        let (orders, ordered) = mpsc::channel::<Address>();
        let shared = Arc::new(Shared {
            plan: plan.clone(),
            warmup: warmup.to_vec(),
            default: default.clone(),
            image: image.clone(),
            named: OnceLock::new(),
            entries: Mutex::default(),
        });
        let maker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("bootstrap".to_owned())
            .stack_size(1 << 20);
        thread.spawn(move || {
            for address in ordered {
                maker.carry_out(&address);
            }
        })?;
        let bootstraps = Bootstraps { shared, orders };
        for host in plan.hosts.iter().take(ADDRESSES_MAX) {
            let named = with(&plan.request, &[("HTTP_HOST", host), ("SERVER_NAME", host)]);
            bootstraps.find(&named);
        }
        Ok(bootstraps)
    }

    /// The snapshot a request may go on from, if there is one.
    pub(crate) fn find(&self, variables: &Pairs) -> Option<Made> {
        if !may_go_on(variables, script(&self.shared.plan.request)) {
            return None;
        }
        let address = address(variables);
        let named = self.shared.named.get();
        let goes_on = named.is_some_and(|named| named.none_in(variables));
        let now = Instant::now();
        let mut entries = self.shared.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.address == address) {
            entry.used = now;
            if entry.settled.is_some_and(|settled| now - settled > STALE) {
                entry.settled = None;
                self.order(address);
            }
            return entry.made.clone().filter(|_| goes_on);
        }
        if entries.len() == ADDRESSES_MAX {
            let idle = entries
                .iter()
                .position(|entry| now - entry.used > IDLE && entry.settled.is_some())?;
            entries.swap_remove(idle);
        }
        entries.push(Entry {
            address: address.clone(),
            made: None,
            settled: None,
            used: now,
        });
        self.order(address);
        None
    }

    /// Takes a snapshot out of use.
    pub(crate) fn refuse(&self, made: &Made) {
        for entry in self.shared.lock().iter_mut() {
            entry.made.take_if(|kept| kept.word == made.word);
        }
    }

    fn order(&self, address: Address) {
        // Without the thread there are no snapshots, and the default one answers.
        let _ = self.orders.send(address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self) -> &Named {
        self.named
            .get_or_init(|| Named::of(&self.image, self.plan.kind))
    }

    fn carry_out(&self, address: &Address) {
        let made = self.make(address);
        let host = imagefs::printable(value(address, b"HTTP_HOST"));
        let made = match made {
            Ok(made) => Some(made),
            Err(error) => {
                eprintln!(
                    "no snapshot after bootstrap for {host}, the default one answers: {error:#}"
                );
                None
            }
        };
        let mut entries = self.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.address == *address) {
            entry.made = made;
            entry.settled = Some(Instant::now());
        }
    }

    /// Makes and checks the snapshot of an address.
    fn make(&self, address: &Address) -> anyhow::Result<Made> {
        let named = self.named();
        let word = random_word()?;
        let frozen = self.freeze(address, &word)?;
        let made = Made {
            snapshot: frozen,
            word: word.into_bytes().into(),
        };
        let mut written = Vec::new();
        for variables in &self.warmup {
            if may_go_on(variables, script(&self.plan.request)) && named.none_in(variables) {
                let asked = with(&with(variables, address), &VISITOR);
                written.push(self.compare(&made, asked)?);
            }
        }
        let front = with(&self.plan.request, address);
        for _ in 0..STRANGERS {
            self.compare(&made, stranger::asks(&front, &random_word()?))?;
        }
        made.snapshot.keep_hot(&written);
        Ok(made)
    }

    /// Asks a new snapshot and the default one the same, and says which pages the first has written.
    fn compare(&self, made: &Made, variables: Pairs) -> anyhow::Result<WrittenPages> {
        let uri = uri(&variables);
        let request = Request {
            variables: last(variables),
        };
        let build = |snapshot: &Snapshot| {
            let builder = Instance::builder(snapshot).request(request.clone());
            builder.build()
        };
        let (found, pages) = build(&made.snapshot)?.run_warming();
        ensure!(
            !made.shows_in(&found),
            "{uri}: the answer shows the request that was frozen"
        );
        let ask = || Ok::<_, sandbox::Error>(build(&self.default)?.run());
        let expected = ask()?;
        // A page that differs from itself tells nothing.
        if !is_same(&found, &expected) && is_same(&expected, &ask()?) {
            bail!("{uri}: {}", difference(&found, &expected));
        }
        Ok(pages)
    }

    /// Runs the warm-up requests and the one that freezes, in one instance.
    fn freeze(&self, address: &Address, word: &str) -> anyhow::Result<Snapshot> {
        let marks = [
            ("HTTP_USER_AGENT", word),
            ("HTTP_X_REQUEST_ID", word),
            ("REMOTE_ADDR", "192.0.2.1"),
        ];
        let prepared = |variables: &Pairs, kind: &[u8]| Request {
            variables: with(
                &with(&with(variables, address), &marks),
                &[(VARIABLE, kind)],
            ),
        };
        let mut requests: Vec<Request> = Vec::new();
        if self.plan.kind == BootstrapKind::WordPress {
            requests.extend(
                self.warmup
                    .iter()
                    .map(|variables| prepared(variables, b"wordpress-warm")),
            );
        }
        let kind: &[u8] = match self.plan.kind {
            BootstrapKind::WordPress => b"wordpress",
            BootstrapKind::Call => b"call",
        };
        let freezing = stranger::asks(&self.plan.request, word);
        requests.push(prepared(&freezing, kind));
        let mut waiting = None;
        for request in requests {
            let next = match waiting {
                None => Instance::builder(&self.default)
                    .request(request)
                    .build()?
                    .run_to_accept(),
                Some(waiting) => sandbox::Waiting::serve_next(waiting, &request),
            };
            waiting = match next {
                Ok(next) => Some(next),
                Err(ended) => bail!("the site ended: {}", describe(&ended)),
            };
        }
        let waiting = waiting.expect("there is at least the request that freezes");
        if waiting.has_answered() {
            let said = describe(&waiting.finish());
            bail!("the site did not call zapp_freeze() where it may, and answered: {said}");
        }
        let snapshot = waiting.freeze(true)?;
        drop(waiting.finish());
        Ok(snapshot)
    }
}

/// Whether a request may go on from behind the bootstrap: the front controller, asked by nobody in particular.
fn may_go_on(variables: &Pairs, script: &[u8]) -> bool {
    variables.iter().all(|(name, value)| match name.as_slice() {
        b"REQUEST_METHOD" => value == b"GET" || value == b"HEAD",
        b"SCRIPT_NAME" => value == script,
        b"PATH_INFO" | b"CONTENT_LENGTH" | b"HTTP_AUTHORIZATION" => false,
        b"HTTP_COOKIE" => !parts(value, b';').any(|part| begins(part, &COOKIES)),
        b"QUERY_STRING" => !parts(value, b'&').any(is_looked_at),
        _ => true,
    })
}

fn parts(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    text.split(move |byte| *byte == separator)
        .map(<[u8]>::trim_ascii)
}

/// Whether the site may look at a query parameter while it loads; whoever encodes a name gets the default snapshot.
fn is_looked_at(parameter: &[u8]) -> bool {
    let name = parameter
        .split(|byte| *byte == b'=')
        .next()
        .unwrap_or_default();
    begins(name, &PARAMETERS) || name.contains(&b'%')
}

/// Whether a `name=value` begins with one of the words.
fn begins(part: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| part.starts_with(word))
}

fn script(variables: &Pairs) -> &[u8] {
    value(variables, b"SCRIPT_NAME")
}

fn address(variables: &Pairs) -> Address {
    let belongs = |(name, _): &&(Vec<u8>, Vec<u8>)| ADDRESS.contains(&name.as_slice());
    variables.iter().filter(belongs).cloned().collect()
}

fn is_same(one: &Finished, other: &Finished) -> bool {
    one.response == other.response && one.stdout == other.stdout
}

/// Where two answers part.
fn difference(found: &Finished, expected: &Finished) -> String {
    if found.response != expected.response {
        return format!("{:?} instead of {:?}", found.response, expected.response);
    }
    let at = found
        .stdout
        .iter()
        .zip(&expected.stdout)
        .take_while(|(one, other)| one == other)
        .count();
    let piece =
        |bytes: &[u8]| imagefs::printable(&bytes[at.min(bytes.len())..bytes.len().min(at + 60)]);
    format!(
        "at byte {at} `{}` instead of `{}`",
        piece(&found.stdout),
        piece(&expected.stdout)
    )
}

/// 128 random bits that no page holds by chance.
fn random_word() -> anyhow::Result<String> {
    let mut bits = [0_u8; 16];
    rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("zapp-{:032x}", u128::from_le_bytes(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(changes: &[(&str, &str)]) -> Pairs {
        let plain = [
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", "/index.php"),
            ("QUERY_STRING", ""),
            ("HTTP_HOST", "a"),
        ];
        let plain: Pairs = plain
            .iter()
            .map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()))
            .collect();
        with(&plain, changes)
    }

    #[test]
    fn only_plain_requests_for_the_front_controller_go_on() {
        for (change, goes_on) in [
            (("REQUEST_METHOD", "HEAD"), true),
            (("REQUEST_METHOD", "POST"), false),
            (("SCRIPT_NAME", "/wp-login.php"), false),
            (("PATH_INFO", "/x"), false),
            (("CONTENT_LENGTH", "0"), false),
            (("HTTP_AUTHORIZATION", "Basic x"), false),
            (("HTTP_COOKIE", "theme=dark; lang=en"), true),
            (
                ("HTTP_COOKIE", "theme=dark; wordpress_logged_in_1=x"),
                false,
            ),
            (("HTTP_COOKIE", "wp-settings-1=x"), false),
            (("QUERY_STRING", "s=wp_customize"), true),
            (("QUERY_STRING", "s=caf%C3%A9"), true),
            (("QUERY_STRING", "s=a&wp_customize=on"), false),
            (("QUERY_STRING", "wp%5Fcustomize=on"), false),
            (("QUERY_STRING", "customize_changeset_uuid=1"), false),
        ] {
            assert_eq!(
                may_go_on(&request(&[change]), b"/index.php"),
                goes_on,
                "{change:?}"
            );
        }
    }

    #[test]
    fn address_is_scheme_and_host_and_nothing_else() {
        let one = address(&request(&[("HTTP_USER_AGENT", "x"), ("REQUEST_URI", "/1")]));
        assert_eq!(one, address(&request(&[("REQUEST_URI", "/2")])));
        assert_ne!(one, address(&request(&[("HTTP_HOST", "b")])));
        assert_ne!(one, address(&request(&[("HTTPS", "on")])));
    }

    #[test]
    fn words_are_never_the_same() {
        assert_ne!(random_word().unwrap(), random_word().unwrap());
    }
}
