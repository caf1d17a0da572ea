//! OpenSSL and curl in the guest: what they compute, that clones share no random numbers, and what they say without a network.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::serve::Server;
use crate::support::{Scratch, args, zapp};

/// The pages of these tests, each a script of its own.
const PAGES: &[(&str, &str)] = &[
    (
        // Asked during the warm-up: by then every generator has been used.
        "index.php",
        "<?php
         function drawn() {
             $key = openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_EC, 'curve_name' => 'prime256v1']);
             openssl_sign('x', $signature, $key);
             openssl_seal('x', $sealed, $keys, [openssl_pkey_get_public(file_get_contents(__DIR__ . '/public.pem'))], 'aes-128-cbc', $iv);
             return [bin2hex(openssl_random_pseudo_bytes(16)), md5(openssl_pkey_get_details($key)['ec']['d']), md5($signature), bin2hex($iv),
                 md5($keys[0])];
         }
         echo implode(' ', drawn());",
    ),
    (
        "known.php",
        "<?php
         echo bin2hex(openssl_encrypt('attack at dawn!!', 'aes-128-cbc', hex2bin('000102030405060708090a0b0c0d0e0f'),
             OPENSSL_RAW_DATA | OPENSSL_ZERO_PADDING, hex2bin(str_repeat('00', 16)))), \"\\n\";
         echo openssl_digest('abc', 'sha256'), \"\\n\", bin2hex(openssl_pbkdf2('password', 'salt', 20, 4096, 'sha1')), \"\\n\";
         foreach (['aes-256-cbc', 'aes-256-ctr', 'des-ede3-cbc', 'camellia-128-cbc', 'aria-256-cbc', 'sm4-cbc'] as $cipher) {
             $iv = openssl_random_pseudo_bytes(openssl_cipher_iv_length($cipher));
             echo openssl_decrypt(openssl_encrypt($cipher, $cipher, 'key', 0, $iv), $cipher, 'key', 0, $iv), ' ';
         }
         foreach (['aes-256-gcm', 'chacha20-poly1305', 'aes-128-ccm'] as $cipher) {
             $iv = openssl_random_pseudo_bytes(12);
             $text = openssl_encrypt($cipher, $cipher, 'key', 0, $iv, $tag);
             echo openssl_decrypt($text, $cipher, 'key', 0, $iv, $tag), ' ', var_export(openssl_decrypt($text, $cipher, 'yek', 0, $iv, $tag), true), ' ';
         }
         foreach (['aes-256-cbc', 'aes-128-gcm', 'chacha20-poly1305'] as $cipher) in_array($cipher, openssl_get_cipher_methods()) || print $cipher;
         foreach (['sha3-256', 'sha512', 'blake2b512', 'ripemd160'] as $name) in_array($name, openssl_get_md_methods()) || print $name;",
    ),
    (
        "keys.php",
        "<?php
         foreach ([['private_key_bits' => 1024], ['private_key_type' => OPENSSL_KEYTYPE_EC, 'curve_name' => 'secp384r1']] as $options) {
             $key = openssl_pkey_new($options);
             openssl_sign('text', $signature, $key, 'sha256');
             $public = openssl_pkey_get_details($key)['key'];
             openssl_pkey_export($key, $text, 'pass');
             echo openssl_verify('text', $signature, $public, 'sha256'), openssl_verify('test', $signature, $public, 'sha256'),
                 var_export(openssl_pkey_get_private($text, 'word'), true), openssl_pkey_get_private($text, 'pass') ? 'yes' : 'no', ' ';
         }
         $key = openssl_pkey_new(['private_key_bits' => 2048]);
         $certificate = openssl_csr_sign(openssl_csr_new(['commonName' => 'site.example'], $key), null, $key, 30, ['digest_alg' => 'sha256'], 77);
         openssl_x509_export($certificate, $text);
         $parsed = openssl_x509_parse($text);
         echo $parsed['subject']['CN'], ' ', $parsed['serialNumber'], ' ', $parsed['signatureTypeSN'], ' ',
             openssl_x509_verify($certificate, openssl_pkey_get_public($text)), ' ', openssl_x509_check_private_key($certificate, $key) ? 'own' : 'other', ' ';
         openssl_public_encrypt('secret', $box, $text); openssl_private_decrypt($box, $opened, $key); echo $opened, ' ';
         openssl_pkcs12_export($certificate, $store, $key, 'pw'); openssl_pkcs12_read($store, $read, 'pw'); echo implode(',', array_keys($read));",
    ),
    (
        "network.php",
        "<?php
         set_error_handler(function ($level, $text) { echo $text, \"\\n\"; });
         file_get_contents('https://example.com/');
         stream_socket_client('ssl://127.0.0.1:443');
         foreach (['https://example.com/', 'http://127.0.0.1:80/'] as $url) {
             $curl = curl_init($url);
             curl_setopt($curl, CURLOPT_RETURNTRANSFER, true);
             echo var_export(curl_exec($curl), true), ' ', curl_errno($curl), ' ', preg_replace('/after \\d+ ms/', 'at once', curl_error($curl)), ' ',
                 curl_getinfo($curl, CURLINFO_RESPONSE_CODE), \"\\n\";
         }
         $many = curl_multi_init();
         foreach (['http://a.example/', 'ftp://b.example/'] as $url) curl_multi_add_handle($many, curl_init($url));
         do { curl_multi_exec($many, $running); } while ($running);
         while ($done = curl_multi_info_read($many)) echo $done['result'], ' ';
         $file = curl_init('file://' . __DIR__ . '/public.pem');
         curl_setopt($file, CURLOPT_RETURNTRANSFER, true);
         echo strlen(curl_exec($file)) === filesize(__DIR__ . '/public.pem') ? 'file ' : 'nothing ';
         echo curl_escape($file, 'a b&c'), ' ', (new CURLFile('x.txt', 'text/plain'))->getMimeType(), ' ', curl_version()['ssl_version'];",
    ),
];

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAukeSDfgi7JBii+SVpTaN
oWzGsVBQj8iWa7BR7sihKnb+Ome07O4dQVZLWjHmM5oeJZ219vl98Fed4OU/WoN9
DL/N/C39zAjxxl9MK4OmSA3P028EobUsgJvXNaOfdG9v5x4uHS6Hu6FW2j9vTokh
bVaLFSktczTqfxB/m7Cy4xuKJ0eE0Q2GCiunuY1tfFNBsVj+/adkgr5Wg6yDP+UY
0Ez/jyGqsXOmzhxSW9jX8pZEqGeQs3t8XUNVlYBBIuyM/QUse0YknW7Cra4RUXZP
tC9sxRhODF1VnfQBcUezYb7epl+WH7ehTDRl8AAGHA8apT0O7Xbe6RclfJuTtuhw
XwIDAQAB
-----END PUBLIC KEY-----
";

/// The site of these pages, packed as a user packs it.
fn image() -> PathBuf {
    static IMAGE: OnceLock<(Scratch, PathBuf)> = OnceLock::new();
    let (_, image) = IMAGE.get_or_init(|| {
        let scratch = Scratch::new();
        let site = scratch.dir("site");
        for (name, text) in PAGES {
            fs::write(site.join(name), text).unwrap();
        }
        fs::write(site.join("public.pem"), PUBLIC_KEY).unwrap();
        let image = scratch.path("site.zapp");
        zapp(args!["pack", "-q", site, "-o", image]).ok();
        (scratch, image)
    });
    image.clone()
}

fn body(page: &str) -> String {
    let reply = Server::start(&image(), &[]).get(page);
    assert_eq!(reply.status, 200, "{page}: {reply:?}");
    reply.body
}

/// Two clones of one snapshot must not draw the same key: that would be everybody's key.
#[test]
fn clones_of_a_snapshot_that_has_drawn_numbers_draw_others() {
    for level in ["after-startup", "none"] {
        let server = Server::start(&image(), &["--snapshot", level, "-n", "4"]);
        let replies: Vec<String> = (0..12).map(|_| server.get("/").body).collect();
        let drawn: Vec<&str> = replies.iter().flat_map(|body| body.split(' ')).collect();
        assert_eq!(drawn.len(), 12 * 5, "{replies:?}");
        let different: HashSet<&str> = drawn.iter().copied().collect();
        assert_eq!(different.len(), drawn.len(), "{level}: {replies:?}");
    }
}

#[test]
fn openssl_computes_what_is_known() {
    assert_eq!(
        body("/known.php"),
        "4a7cf5c7bb2d48d42edb56b2d7538507\n\
         ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n\
         4b007901b765489abead49d926f721d065a429c1\n\
         aes-256-cbc aes-256-ctr des-ede3-cbc camellia-128-cbc aria-256-cbc sm4-cbc \
         aes-256-gcm false chacha20-poly1305 false aes-128-ccm false "
    );
}

#[test]
fn keys_and_certificates_are_made_and_read() {
    assert_eq!(
        body("/keys.php"),
        "10falseyes 10falseyes site.example 77 RSA-SHA256 1 own secret cert,pkey"
    );
}

#[test]
fn what_wants_a_network_says_that_there_is_none() {
    let none = |host: &str| {
        format!("php_network_getaddresses: getaddrinfo for {host} failed: a guest has no network")
    };
    let (name, number) = (none("example.com"), none("127.0.0.1"));
    assert_eq!(
        body("/network.php"),
        format!(
            "file_get_contents(): {name}\nfile_get_contents(https://example.com/): Failed to open stream: {name}\n\
             stream_socket_client(): {number}\nstream_socket_client(): Unable to connect to ssl://127.0.0.1:443 ({number})\n\
             false 6 Could not resolve host: example.com (a guest has no network) 0\n\
             false 7 Failed to connect to 127.0.0.1 port 80 at once: a guest has no network 0\n\
             6 6 file a%20b%26c text/plain OpenSSL/3.0.22"
        )
    );
}
