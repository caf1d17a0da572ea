//! PHP in the guest is PHP as other hosts have it: settings, extensions, SQLite, iconv and glob that sites rely on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::serve::Server;
use crate::support::{Scratch, args, zapp};

/// The pages of these tests, each a script of its own.
const PAGES: &[(&str, &str)] = &[
    ("index.php", "<?php echo 'front';"),
    (
        "wal.php",
        "<?php $db = new PDO('sqlite:' . __DIR__ . '/data.sqlite');
         echo $db->query('PRAGMA journal_mode=WAL')->fetchColumn(), ' ', $db->query('SELECT count(*) FROM t')->fetchColumn();",
    ),
    (
        "new-wal.php",
        "<?php $db = new SQLite3('/tmp/new.sqlite');
         echo $db->querySingle('PRAGMA journal_mode=WAL');
         $db->exec('CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)');
         echo ' ', (new PDO('sqlite:/tmp/new.sqlite'))->query('SELECT sum(x) FROM t')->fetchColumn();",
    ),
    (
        "limit.php",
        "<?php $db = new PDO('sqlite::memory:'); $db->exec('CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3), (4)');
         echo $db->exec('DELETE FROM t ORDER BY x DESC LIMIT 1'), $db->exec('UPDATE t SET x = 9 ORDER BY x LIMIT 2'), ' ';
         echo implode(',', $db->query('SELECT x FROM t ORDER BY x')->fetchAll(PDO::FETCH_COLUMN));",
    ),
    (
        "sqlite.php",
        "<?php $db = new PDO('sqlite::memory:');
         $db->exec('CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES (\\'the quick fox\\')');
         $db->exec('CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES (1, 2, 3)');
         foreach (['SELECT count(*) FROM f WHERE f MATCH \\'quick\\'', 'SELECT count(*) FROM r WHERE a > 1',
             'SELECT json_extract(\\'{\"a\":[5]}\\', \\'$.a[0]\\')', 'SELECT cast(sqrt(49) AS INTEGER)'] as $query)
             echo $db->query($query)->fetchColumn(), ' ';",
    ),
    (
        "iconv.php",
        "<?php foreach ([['UTF-8', 'ASCII//TRANSLIT', 'Gr\u{fc}\u{df}e'], ['UTF-8', 'UTF-8//IGNORE', \"ok\\xff ok\"],
             ['UTF-8', 'ASCII//IGNORE', 'Gr\u{fc}\u{df}e'], ['UTF-8', 'ISO-8859-1//TRANSLIT', 'a \u{2013} b'],
             ['UTF-8', 'UTF-7', 'a\u{2013}'], ['GB18030', 'UTF-8', iconv('UTF-8', 'GB18030', '\u{1d400}')]] as [$from, $to, $text])
             echo json_encode(@iconv($from, $to, $text), JSON_UNESCAPED_UNICODE), ' ';",
    ),
    (
        "glob.php",
        "<?php foreach (['/glob/*.{b,a}', '/glob/{x,one,two}.*', '/glob/{t{w,}o,one}.a', '/glob/{none,no}.a', '/glob/*.{a', '/gl{ob}/o*'] as $pattern)
             echo json_encode(array_map('basename', glob(__DIR__ . $pattern, GLOB_BRACE))), ' ';",
    ),
    ("glob/one.a", ""),
    ("glob/two.a", ""),
    ("glob/two.b", ""),
    (
        "blank.php",
        "\n<?php header('Location: /next'); exit;",
    ),
    (
        "feed.php",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss><?php echo 't'; ?></rss>",
    ),
    (
        "status.php",
        "<?php header('Status: 404 Not Found'); echo 'gone';",
    ),
    (
        "phrase.php",
        "<?php header('HTTP/1.1 419 Page Expired'); header('Status: 500 No'); echo 'old';",
    ),
    ("same.php", "<?php header('ETag: \"1\"'); http_response_code(304);"),
    (
        "ini.php",
        "<?php foreach (explode(' ', 'output_buffering short_open_tag error_reporting request_order expose_php zend.exception_ignore_args \
         zend.assertions variables_order display_errors log_errors session.gc_divisor') as $name) echo $name, '=', ini_get($name), \"\\n\";",
    ),
    (
        "extensions.php",
        "<?php foreach (['openssl_random_pseudo_bytes', 'datefmt_create', 'imagecreatetruecolor', 'curl_init', 'zip_open', 'mb_split',
             'sodium_crypto_secretbox', 'exif_read_data', 'bcadd', 'gmp_add', 'easter_days', 'gettext', 'posix_getpid', 'mysqli_connect']
             as $function) if (!function_exists($function)) echo $function, ' ';",
    ),
    (
        "pictures.php",
        "<?php foreach (['png', 'jpeg', 'webp', 'gif', 'bmp'] as $kind) {
             $picture = imagecreatetruecolor(64, 48);
             imagefilledrectangle($picture, 8, 8, 40, 40, 0xff0000);
             ob_start(); ('image' . $kind)($picture); $bytes = ob_get_clean();
             $again = imagescale(imagecreatefromstring($bytes), 32);
             $color = imagecolorsforindex($again, imagecolorat($again, 12, 12));
             echo $kind, ' ', imagesx($again), 'x', imagesy($again), ' ', $color['red'] > 240 && $color['blue'] < 15 ? 'red' : 'other', \"\\n\";
         }
         echo gd_info()['FreeType Support'] ? 'freetype' : '';",
    ),
    (
        "more.php",
        "<?php $zip = new ZipArchive; $zip->open('/tmp/a.zip', ZipArchive::CREATE); $zip->addFromString('x', 'in the zip'); $zip->close();
         $zip->open('/tmp/a.zip'); echo $zip->getFromName('x'), \"\\n\";
         $key = sodium_crypto_secretbox_keygen(); $nonce = random_bytes(24);
         echo sodium_crypto_secretbox_open(sodium_crypto_secretbox('sealed', $nonce, $key), $nonce, $key), \"\\n\";
         echo password_verify('word', password_hash('word', PASSWORD_ARGON2ID, ['memory_cost' => 1024, 'time_cost' => 1])) ? 'argon2' : '', \"\\n\";
         echo bcpow('2', '100'), ' ', gmp_strval(gmp_nextprime(gmp_pow(10, 30))), ' ', implode('|', mb_split('\\\\s', 'a b')), \"\\n\";
         mysqli_report(MYSQLI_REPORT_OFF);
         echo var_export(@mysqli_connect('127.0.0.1', 'user', 'word', 'site'), true), ' ', mysqli_connect_errno(), \"\\n\";",
    ),
];

/// The site of these pages, packed as a user packs it.
fn image() -> PathBuf {
    static IMAGE: OnceLock<(Scratch, PathBuf)> = OnceLock::new();
    let (_, image) = IMAGE.get_or_init(|| {
        let scratch = Scratch::new();
        let site = scratch.dir("site");
        fs::create_dir(site.join("glob")).unwrap();
        for (name, text) in PAGES {
            fs::write(site.join(name), text).unwrap();
        }
        let made = Command::new("sqlite3")
            .arg(site.join("data.sqlite"))
            .arg("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (20)")
            .status();
        assert!(made.expect("the sqlite3 shell").success());
        let image = scratch.path("site.zapp");
        zapp(args!["pack", "-q", site, "-o", image]).ok();
        (scratch, image)
    });
    image.clone()
}

fn body(page: &str) -> String {
    let server = Server::start(&image(), &[]);
    let reply = server.get(page);
    assert_eq!(reply.status, 200, "{page}: {reply:?}");
    reply.body
}

// case site-sqlite-wal
// case reported-sqlite-wal-pragma-ioerr
#[test]
fn a_journal_that_cannot_be_had_is_not_promised() {
    assert_eq!(body("/wal.php"), "delete 2");
    assert_eq!(body("/new-wal.php"), "delete 6");
    let run = zapp(args!["run", image(), "wal.php"]).ok();
    assert_eq!(run.text(), "delete 2");
}

// case reported-php-delete-limit
#[test]
fn sqlite_has_what_debian_s_has() {
    assert_eq!(body("/limit.php"), "12 3,9,9");
    assert_eq!(body("/sqlite.php"), "1 1 5 7 ");
}

// case site-iconv-suffix
// case reported-php-musl-iconv-glob
#[test]
fn iconv_transliterates_and_ignores() {
    assert_eq!(
        body("/iconv.php"),
        "\"Gr\\\"usse\" \"ok ok\" \"Gre\" \"a - b\" \"a+IBM-\" \"\u{1d400}\" "
    );
}

// case site-glob-brace
#[test]
fn braces_are_alternatives() {
    assert_eq!(
        body("/glob.php"),
        "[\"two.b\",\"one.a\",\"two.a\"] [\"one.a\",\"two.a\",\"two.b\"] [\"two.a\",\"one.a\"] [] [] [\"one.a\"] "
    );
}

// case site-output-buffering
#[test]
fn a_blank_line_before_the_first_tag_does_not_lose_a_redirect() {
    let reply = Server::start(&image(), &[]).get("/blank.php");
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, Some("/next"))
    );
}

// case site-short-open-tag
#[test]
fn an_xml_declaration_is_text() {
    let feed = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss>t</rss>";
    assert_eq!(body("/feed.php"), feed);
    assert_eq!(zapp(args!["run", image(), "feed.php"]).ok().text(), feed);
}

// case reported-php-status-header
#[test]
fn a_status_header_is_the_status() {
    let server = Server::start(&image(), &[]);
    let gone = server.get("/status.php");
    assert_eq!((gone.status, gone.body.as_str()), (404, "gone"));
    // A line of the script's goes before it.
    assert_eq!(server.get("/phrase.php").status, 419);
    let same = server.get("/same.php");
    assert_eq!((same.status, same.header("content-type")), (304, None));
    assert_eq!(same.header("etag"), Some("\"1\""));
}

#[test]
fn settings_are_those_of_production() {
    assert_eq!(
        body("/ini.php"),
        "output_buffering=4096\nshort_open_tag=0\nerror_reporting=22527\nrequest_order=GP\nexpose_php=0\n\
         zend.exception_ignore_args=1\nzend.assertions=-1\nvariables_order=GPCS\ndisplay_errors=0\nlog_errors=1\n\
         session.gc_divisor=1000\n"
    );
}

// case site-ext-missing
#[test]
fn what_is_packed_has_the_extensions_that_sites_ask_for() {
    assert_eq!(body("/extensions.php"), "datefmt_create ");
    assert_eq!(
        body("/pictures.php"),
        "png 32x24 red\njpeg 32x24 red\nwebp 32x24 red\ngif 32x24 red\nbmp 32x24 red\nfreetype"
    );
    assert_eq!(
        body("/more.php"),
        "in the zip\nsealed\nargon2\n1267650600228229401496703205376 1000000000000000000000000000057 a|b\nfalse 2002\n"
    );
}
