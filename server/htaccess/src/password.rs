//! Hashed passwords, as `htpasswd` and `crypt(3)` write them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;

use crate::limits::{BCRYPT_COST_MAX, Budget, Exhausted, SHA_CRYPT_ROUNDS_MAX};

/// How a password is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bcrypt,
    /// `$apr1$`, MD5 in a thousand rounds.
    Apr1,
    /// `$1$`, the same under its first name.
    Md5Crypt,
    /// `{SHA}`.
    Sha1,
    Sha256Crypt,
    Sha512Crypt,
    /// Too dear, or not known: it fits no password.
    Unusable,
}

impl Scheme {
    /// The scheme of a stored password.
    pub(crate) fn of(stored: &[u8]) -> Scheme {
        let starts = |prefix: &[u8]| stored.starts_with(prefix);
        if starts(b"$2y$") || starts(b"$2a$") || starts(b"$2b$") {
            let cost = crate::text::number(stored.get(4..6).unwrap_or_default());
            return match u32::try_from(cost) {
                Ok(cost) if cost <= BCRYPT_COST_MAX && stored.len() == 60 => Scheme::Bcrypt,
                _ => Scheme::Unusable,
            };
        }
        if starts(b"$5$") || starts(b"$6$") {
            let rounds = stored[3..]
                .strip_prefix(b"rounds=")
                .map(crate::text::number);
            return match rounds {
                Some(rounds) if rounds > i64::from(SHA_CRYPT_ROUNDS_MAX) => Scheme::Unusable,
                _ if starts(b"$5$") => Scheme::Sha256Crypt,
                _ => Scheme::Sha512Crypt,
            };
        }
        if starts(b"$apr1$") {
            Scheme::Apr1
        } else if starts(b"$1$") {
            Scheme::Md5Crypt
        } else if starts(b"{SHA}") {
            Scheme::Sha1
        } else {
            Scheme::Unusable
        }
    }
}

/// What checking a password costs, in steps of about a byte compared.
fn cost(stored: &[u8]) -> usize {
    match Scheme::of(stored) {
        Scheme::Bcrypt => {
            let cost = crate::text::number(&stored[4..6]);
            1000 << usize::try_from(cost).unwrap_or_default()
        }
        Scheme::Sha256Crypt | Scheme::Sha512Crypt => {
            let rounds = stored[3..]
                .strip_prefix(b"rounds=")
                .map_or(5000, crate::text::number);
            20 * usize::try_from(rounds.max(1000)).unwrap_or_default()
        }
        Scheme::Apr1 | Scheme::Md5Crypt => 10_000,
        Scheme::Sha1 | Scheme::Unusable => 100,
    }
}

/// Whether a password fits what is stored.
pub(crate) fn fits(stored: &[u8], password: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(stored) else {
        return false;
    };
    match Scheme::of(stored) {
        Scheme::Bcrypt => bcrypt::verify(password, text).unwrap_or(false),
        Scheme::Apr1 => md5_crypt(b"$apr1$", stored, password).is_some_and(|s| same(&s, stored)),
        Scheme::Md5Crypt => md5_crypt(b"$1$", stored, password).is_some_and(|s| same(&s, stored)),
        Scheme::Sha1 => {
            let digest = STANDARD.encode(Sha1::digest(password));
            same(digest.as_bytes(), &stored[5..])
        }
        Scheme::Sha256Crypt | Scheme::Sha512Crypt => sha_crypt_fits(text, password),
        Scheme::Unusable => false,
    }
}

fn sha_crypt_fits(stored: &str, password: &[u8]) -> bool {
    use sha_crypt::{PasswordHash, PasswordVerifier, ShaCrypt};
    // Its minimum is what crypt(3) says, and so is its default.
    PasswordHash::new(stored)
        .is_ok_and(|hash| ShaCrypt::default().verify_password(password, &hash).is_ok())
}

/// Compares without saying where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differs = a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y));
    a.len() == b.len() && differs == 0
}

/// Poul-Henning Kamp's MD5 crypt, with the salt of a stored password.
fn md5_crypt(magic: &[u8], stored: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let rest = stored.strip_prefix(magic)?;
    let salt = rest.split(|&b| b == b'$').next()?;
    let salt = &salt[..salt.len().min(8)];
    let mut inner = Md5::new();
    for part in [password, salt, password] {
        inner.update(part);
    }
    let mut mix = inner.finalize();
    let mut outer = Md5::new();
    for part in [password, magic, salt] {
        outer.update(part);
    }
    for start in (0..password.len()).step_by(16) {
        outer.update(&mix[..(password.len() - start).min(16)]);
    }
    let mut length = password.len();
    while length > 0 {
        let first = password[0];
        outer.update([if length & 1 == 1 { 0 } else { first }]);
        length >>= 1;
    }
    mix = outer.finalize();
    for round in 0..1000_u32 {
        let mut digest = Md5::new();
        match round & 1 {
            1 => digest.update(password),
            _ => digest.update(mix),
        }
        if round % 3 != 0 {
            digest.update(salt);
        }
        if round % 7 != 0 {
            digest.update(password);
        }
        match round & 1 {
            1 => digest.update(mix),
            _ => digest.update(password),
        }
        mix = digest.finalize();
    }
    let mut out = [magic, salt, b"$"].concat();
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let bits = u32::from(mix[a]) << 16 | u32::from(mix[b]) << 8 | u32::from(mix[c]);
        to_64(&mut out, bits, 4);
    }
    to_64(&mut out, u32::from(mix[11]), 2);
    Some(out)
}

fn to_64(out: &mut Vec<u8>, mut bits: u32, digits: usize) {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..digits {
        out.push(DIGITS[usize::try_from(bits & 63).expect("below 64")]);
        bits >>= 6;
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<String>().into_bytes()
}

/// SHA-1 in hexadecimal digits.
pub(crate) fn sha1_hex(text: &[u8]) -> Vec<u8> {
    hex(&Sha1::digest(text))
}

/// MD5 in hexadecimal digits.
pub(crate) fn md5_hex(text: &[u8]) -> Vec<u8> {
    hex(&Md5::digest(text))
}

/// Passwords that were right lately, by a keyed hash; those that were wrong are computed each time.
const RIGHT_MAX: usize = 1024;

/// A file of passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    users: HashMap<Vec<u8>, Vec<u8>>,
    right: Mutex<Right>,
}

#[derive(Debug, Default)]
struct Right {
    key: RandomState,
    seen: Vec<u64>,
}

impl Passwords {
    /// Reads lines `user:hash`.
    pub(crate) fn parse(text: &[u8]) -> Passwords {
        let mut users = HashMap::new();
        for line in text.split(|&b| b == b'\n') {
            let line = crate::text::trim(line);
            let mut parts = line.split(|&b| b == b':');
            if let (Some(user), Some(stored)) = (parts.next(), parts.next())
                && !line.starts_with(b"#")
            {
                users
                    .entry(user.to_vec())
                    .or_insert_with(|| stored.to_vec());
            }
        }
        Passwords {
            users,
            right: Mutex::default(),
        }
    }

    /// How many stored passwords fit no password at all.
    pub(crate) fn unusable(&self) -> usize {
        let is_unusable = |stored: &&Vec<u8>| Scheme::of(stored) == Scheme::Unusable;
        self.users.values().filter(is_unusable).count()
    }

    /// Whether a user's password is right; `None` for a user that is not there.
    pub(crate) fn check(
        &self,
        user: &[u8],
        password: &[u8],
        budget: &mut Budget,
    ) -> Result<Option<bool>, Exhausted> {
        let Some(stored) = self.users.get(user) else {
            return Ok(None);
        };
        budget.spend(100)?;
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        let key = right.key.hash_one((stored, password));
        if right.seen.contains(&key) {
            return Ok(Some(true));
        }
        drop(right);
        budget.spend(cost(stored))?;
        let is_right = fits(stored, password);
        if is_right {
            right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            if right.seen.len() >= RIGHT_MAX {
                right.seen.remove(0);
            }
            right.seen.push(key);
        }
        Ok(Some(is_right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `htpasswd -nb`, `-nbB -C 4`, `-nbs`, and `openssl passwd -1`, `-5`, `-6`; the password is `secret`.
    const STORED: [&str; 6] = [
        "$apr1$kL4Hrc2v$h2dp/VoAMs/ZyikBmshAr0",
        "$2y$04$kGYBo1d4jEXIeIITF/Kj8OmPkaaajynrjLi7OfosUeD81gXW2///e",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
        "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
        "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
    ];

    #[test]
    fn each_scheme_knows_its_password() {
        for stored in STORED {
            assert!(fits(stored.as_bytes(), b"secret"), "{stored}");
            assert!(!fits(stored.as_bytes(), b"Secret"), "{stored}");
            assert!(!fits(stored.as_bytes(), b""), "{stored}");
        }
    }

    #[test]
    fn dear_and_unknown_hashes_fit_nothing() {
        let dear = "$2y$31$abcdefghijklmnopqrstuuJ5YB5hIvbS.8gnN8c2jN0Tt6Vdi0iWm";
        assert_eq!(Scheme::of(dear.as_bytes()), Scheme::Unusable);
        let affordable = dear.replace("$31$", "$12$");
        assert_eq!(Scheme::of(affordable.as_bytes()), Scheme::Bcrypt);
        let dear = "$6$rounds=100001$salt$x";
        assert_eq!(Scheme::of(dear.as_bytes()), Scheme::Unusable);
        let affordable = "$6$rounds=100000$salt$x";
        assert_eq!(Scheme::of(affordable.as_bytes()), Scheme::Sha512Crypt);
        for stored in [
            "",
            "secret",
            "$y$j9T$x$y",
            "abJnggxhB/yWI",
            "$apr1$",
            "$2y$",
        ] {
            assert!(!fits(stored.as_bytes(), b"secret"), "{stored}");
        }
    }

    #[test]
    fn a_file_is_read_and_right_passwords_are_remembered() {
        let text = format!(
            "# users\nann:{}\nbob:{}\r\nann:later\n",
            STORED[1], STORED[2]
        );
        let passwords = Passwords::parse(text.as_bytes());
        let mut budget = Budget::new(1_000_000);
        let mut check =
            |user: &[u8], password: &[u8]| passwords.check(user, password, &mut budget).unwrap();
        assert_eq!(check(b"ann", b"secret"), Some(true));
        assert_eq!(check(b"ann", b"secret"), Some(true));
        assert_eq!(check(b"ann", b"other"), Some(false));
        assert_eq!(check(b"bob", b"secret"), Some(true));
        assert_eq!(check(b"eve", b"secret"), None);
        assert_eq!(passwords.unusable(), 0);
    }

    #[test]
    fn a_check_is_paid_before_it_is_made() {
        let dear = STORED[1].replace("$04$", "$12$");
        let passwords = Passwords::parse(format!("ann:{dear}\n").as_bytes());
        let mut budget = Budget::new(crate::limits::STEPS_SOON_MAX);
        let start = std::time::Instant::now();
        let found = passwords.check(b"ann", b"secret", &mut budget);
        assert_eq!(found, Err(Exhausted::Steps));
        assert!(start.elapsed().as_millis() < 20, "{:?}", start.elapsed());
    }
}
