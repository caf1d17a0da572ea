//! `zapp import wordpress`: a site on MySQL, as a dump and a folder, becomes one on SQLite that says the same.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::php;
use crate::serve::Server;
use crate::support::{Run, Scratch, args, have, is_root, skip, wait_for, zapp};

/// WordPress' tables as MySQL shows them; and one that is hard on whoever reads it.
const TABLES: &str = include_str!("../fixtures/wordpress/tables.sql");
const NASTY: &str = r#"
DROP TABLE IF EXISTS `wp_nasty`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
CREATE TABLE `wp_nasty` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `when` datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
  `bytes` longblob DEFAULT NULL,
  `bits` bit(4) DEFAULT NULL,
  `text` longtext DEFAULT NULL COMMENT 'a; ''quoted'' -- comment',
  `set` enum('a','b''c') DEFAULT 'a',
  PRIMARY KEY (`id`),
  KEY `t` (`text`(20))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
LOCK TABLES `wp_nasty` WRITE;
/*!40000 ALTER TABLE `wp_nasty` DISABLE KEYS */;
INSERT INTO `wp_nasty` VALUES
(1,'0000-00-00 00:00:00',_binary '\0\'\"\\\n;\Z',b'1010','it''s; -- no /* comment */ # at all','b''c'),
(2,'2024-02-29 12:00:00',0x00FF80,NULL,'caf\u00e9 😀 \0 \\% \r\n\t','a');
INSERT INTO `wp_nasty` (`id`,`text`) VALUES (7,NULL),(9,'');
/*!40000 ALTER TABLE `wp_nasty` ENABLE KEYS */;
UNLOCK TABLES;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER `x` BEFORE INSERT ON `wp_nasty` FOR EACH ROW BEGIN SET NEW.text = 'a;b'; END */;;
DELIMITER ;
"#;

/// The names of the tables above.
fn tables() -> impl Iterator<Item = &'static str> {
    TABLES
        .split("CREATE TABLE `")
        .skip(1)
        .map(|rest| rest.split('`').next().unwrap())
}

fn database(site: &Path) -> PathBuf {
    site.join("wp-content/database/.ht.sqlite")
}

/// A literal as mysqldump writes it.
fn literal(value: ValueRef<'_>, out: &mut Vec<u8>) {
    match value {
        ValueRef::Null => out.extend(b"NULL"),
        ValueRef::Integer(number) => write!(out, "{number}").unwrap(),
        ValueRef::Real(number) => write!(out, "{number}").unwrap(),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            out.push(b'\'');
            for &byte in text {
                match byte {
                    0 => out.extend(b"\\0"),
                    b'\n' => out.extend(b"\\n"),
                    b'\r' => out.extend(b"\\r"),
                    26 => out.extend(b"\\Z"),
                    b'\'' | b'"' | b'\\' => out.extend([b'\\', byte]),
                    byte => out.push(byte),
                }
            }
            out.push(b'\'');
        }
    }
}

/// The fixture as mysqldump would have written it.
fn dump(site: &Path) -> Vec<u8> {
    let conn = Connection::open(database(site)).unwrap();
    let mut out = b"-- MariaDB dump 10.19\n/*M!999999\\- enable the sandbox mode */ \n/*!40101 SET NAMES utf8mb4 */;\n".to_vec();
    out.extend(TABLES.as_bytes());
    for table in tables() {
        let mut select = conn
            .prepare(&format!("SELECT * FROM \"{table}\" ORDER BY 1"))
            .unwrap();
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        let mut in_statement = 0;
        while let Some(row) = rows.next().unwrap() {
            match in_statement {
                0 => write!(out, "INSERT INTO `{table}` VALUES (").unwrap(),
                _ => out.extend(b",("),
            }
            for column in 0..columns {
                if column > 0 {
                    out.push(b',');
                }
                literal(row.get_ref(column).unwrap(), &mut out);
            }
            out.push(b')');
            in_statement = (in_statement + 1) % 100;
            if in_statement == 0 {
                out.extend(b";\n");
            }
        }
        if in_statement > 0 {
            out.extend(b";\n");
        }
    }
    out.extend(NASTY.replace("\\u00e9", "\u{e9}").as_bytes());
    out
}

/// All values of a table in hexadecimal digits, by its first column.
fn hexed(database: &Path, table: &str) -> Vec<String> {
    let conn = Connection::open(database).unwrap();
    let names = conn.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
    let names: Vec<String> = names
        .column_names()
        .map(|name| (*name).to_owned())
        .collect();
    let hexed =
        |name: &String| format!("iif(\"{name}\" IS NULL, 'NULL', hex(CAST(\"{name}\" AS BLOB)))");
    let columns = names
        .iter()
        .map(hexed)
        .collect::<Vec<_>>()
        .join(" || ' ' || ");
    let sql = format!(
        "SELECT {columns} FROM \"{table}\" ORDER BY \"{}\", 1",
        names[0]
    );
    let mut rows = conn.prepare(&sql).unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// The fixture as a site on MySQL: its files without anything of SQLite's, and its dump.
fn on_mysql() -> Option<&'static (Scratch, PathBuf, PathBuf)> {
    static MADE: OnceLock<Option<(Scratch, PathBuf, PathBuf)>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/sqlite-plugin");
        if !Command::new(fetched)
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
        {
            return None;
        }
        let (_, source) = php::wordpress();
        let scratch = Scratch::new();
        let files = scratch.dir("files");
        crate::serve_php::copy(&source, &files);
        fs::remove_dir_all(files.join("wp-content/database")).unwrap();
        fs::remove_dir_all(files.join("wp-content/plugins/sqlite-database-integration")).unwrap();
        fs::remove_file(files.join("wp-content/db.php")).unwrap();
        let config = fs::read_to_string(files.join("wp-config.php")).unwrap();
        let lines = config
            .lines()
            .filter(|line| !line.contains("'DB_DIR'") && !line.contains("'DB_FILE'"));
        fs::write(
            files.join("wp-config.php"),
            lines.collect::<Vec<_>>().join("\n"),
        )
        .unwrap();
        let sql = scratch.path("site.sql");
        fs::write(&sql, dump(&source)).unwrap();
        Some((scratch, files, sql))
    });
    made.as_ref()
}

fn import(dump: &Path, files: &Path, site: &Path, more: &[&str]) -> Run {
    let words = args![
        "import",
        "wordpress",
        "--dump",
        dump,
        "--files",
        files,
        "-o",
        site
    ];
    zapp(words.into_iter().chain(more.iter().map(Into::into)))
}

#[test]
fn a_dump_and_a_folder_become_a_site_with_the_same_pages() {
    let Some((_, files, sql)) = on_mysql() else {
        skip!("the plugin is not there, and cannot be fetched");
    };
    let (image, source) = php::wordpress();
    let scratch = Scratch::new();
    let site = scratch.path("site");
    let run = import(sql, files, &site, &["--json"]).ok();
    let report = &run.json()[0];
    assert_eq!(report["tables"]["wp_nasty"]["site"], 4);
    assert_eq!(
        report["skipped"].as_array().unwrap().len(),
        1,
        "the trigger: {report}"
    );
    assert!(run.stderr.contains("skipped: CREATE "), "{}", run.stderr);
    for table in tables() {
        let rows = hexed(&database(&site), table);
        assert_eq!(rows, hexed(&database(&source), table), "{table}");
        assert_eq!(report["tables"][table]["dump"], rows.len(), "{table}");
    }
    let nasty = hexed(&database(&site), "wp_nasty");
    let bytes = "002722 5C0A3B1A".replace(' ', "");
    let zero = hex(b"0000-00-00 00:00:00");
    let text = hex(b"it's; -- no /* comment */ # at all");
    assert_eq!(
        nasty[0],
        format!("31 {zero} {bytes} 3130 {text} {}", hex(b"b'c"))
    );
    let text = hex("caf\u{e9} \u{1f600} \0 \\% \r\n\t".as_bytes());
    assert_eq!(
        nasty[1],
        format!("32 {} 00FF80 NULL {text} 61", hex(b"2024-02-29 12:00:00"))
    );
    assert_eq!(nasty[2], format!("37 {zero} NULL NULL NULL 61"));

    let packed = scratch.path("site.zapp");
    zapp(args!["pack", "-q", site, "-o", packed]).ok();
    let (ours, theirs) = (Server::start(&packed, &[]), Server::start(image, &[]));
    let urls = fs::read_to_string(source.join("../urls.txt")).unwrap();
    let paths = urls
        .lines()
        .step_by(40)
        .chain(["/", "/feed/", "/?s=tempor", "/nowhere/"]);
    for path in paths {
        let (page, other) = (ours.get(path), theirs.get(path));
        // This plugin asks for a write-ahead log: nothing was answered but 500 where SQLite agreed and could not have one.
        let expected = if path == "/nowhere/" { 404 } else { 200 };
        assert_eq!(page.status, expected, "{path}: {}", ours.log());
        assert_eq!(page.status, other.status, "{path}: {}", ours.log());
        let local = |server: &Server, body: &str| body.replace(&server.address.to_string(), "HOST");
        assert_eq!(
            local(&ours, &page.body),
            local(&theirs, &other.body),
            "{path}"
        );
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn another_address_leaves_serialised_data_whole() {
    let Some((_, files, sql)) = on_mysql() else {
        skip!("the plugin is not there, and cannot be fetched");
    };
    let scratch = Scratch::new();
    // An address in serialised data, and in serialised data within that.
    let inner = r#"a:1:{s:1:"u";s:27:"http://127.0.0.1:9400/x?a=1";}"#;
    let outer = format!(
        r#"a:2:{{i:0;s:{}:"{inner}";s:1:"h";s:21:"http://127.0.0.1:9400";}}"#,
        inner.len()
    );
    let row = format!(
        "INSERT INTO `wp_options` VALUES (990001,'zapp_nested','{}','no');\n",
        outer.replace('"', "\\\"")
    );
    let dump = [fs::read(sql).unwrap(), row.into_bytes()].concat();
    let packed = scratch.path("site.sql.gz");
    let mut gzip = flate2::write::GzEncoder::new(
        fs::File::create(&packed).unwrap(),
        flate2::Compression::fast(),
    );
    gzip.write_all(&dump).unwrap();
    gzip.finish().unwrap();
    let site = scratch.path("site");
    let run = import(
        &packed,
        files,
        &site,
        &["--url", "https://new.example/blog/", "--json"],
    )
    .ok();
    assert_eq!(run.json()[0]["url"]["old"], "http://127.0.0.1:9400");
    let code = r#"$db = new PDO('sqlite:wp-content/database/.ht.sqlite');
        $broken = 0; $whole = 0; $old = 0;
        foreach (['wp_options' => 'option_value', 'wp_postmeta' => 'meta_value', 'wp_posts' => 'post_content'] as $table => $column) {
            foreach ($db->query("SELECT $column FROM $table")->fetchAll(PDO::FETCH_COLUMN) as $value) {
                if (preg_match('/^(a|O|s):\d+:/', (string) $value)) { @unserialize($value) === false ? $broken++ : $whole++; }
                $old += substr_count((string) $value, '127.0.0.1:9400');
            }
        }
        $nested = unserialize($db->query("SELECT option_value FROM wp_options WHERE option_name = 'zapp_nested'")->fetchColumn());
        echo json_encode([$broken, $whole > 5, $old, unserialize($nested[0])['u'], $nested['h'],
            $db->query("SELECT option_value FROM wp_options WHERE option_name = 'home'")->fetchColumn()], JSON_UNESCAPED_SLASHES);"#;
    let seen = zapp(args!["php", site, "-r", code]).ok();
    let new = "https://new.example/blog";
    assert_eq!(
        seen.text(),
        format!(r#"[0,true,0,"{new}/x?a=1","{new}","{new}"]"#)
    );
}

#[test]
fn a_dump_that_is_not_whole_leaves_nothing_behind() {
    let Some((_, files, sql)) = on_mysql() else {
        skip!("the plugin is not there, and cannot be fetched");
    };
    let scratch = Scratch::new();
    let whole = fs::read_to_string(sql).unwrap();
    let lines = TABLES.lines().count() + 3;
    let cases = [
        (whole[..whole.len() / 2].to_owned(), "the dump ends inside"),
        (
            format!("{TABLES}INSERT INTO `wp_posts` VALUES (1,2);"),
            "wp_posts: row 1 has 2 values for 23 columns",
        ),
        (
            format!("{TABLES}INSERT INTO `wp_other` VALUES (1);"),
            "rows for a table that is not there",
        ),
        (
            format!("{TABLES}\n\n\nINSERT INTO `wp_terms` VALUES (1,NOW(),'',0);"),
            "line ",
        ),
        ("SELECT 1;".to_owned(), "the dump makes no table"),
        (
            "CREATE TABLE `x` (`a` int, `a` int);".to_owned(),
            "line 1: the table cannot be made",
        ),
    ];
    for (index, (dump, said)) in cases.into_iter().enumerate() {
        let folder = scratch.dir(&index.to_string());
        let file = scratch.path("broken.sql.zst");
        fs::write(&file, zstd::encode_all(dump.as_bytes(), 1).unwrap()).unwrap();
        let run = import(&file, files, &folder.join("site"), &[])
            .code(2)
            .says(said);
        assert!(
            index != 3 || run.stderr.contains(&format!("line {}", lines + 1)),
            "{}",
            run.stderr
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{said}");
    }
    import(sql, files, scratch.dir("there").as_path(), &[])
        .code(2)
        .says("exists");
}

/// A MariaDB of its own, on a socket in a scratch folder.
struct MariaDb {
    server: Child,
    socket: PathBuf,
}

impl MariaDb {
    fn start(scratch: &Scratch) -> MariaDb {
        let (data, socket) = (scratch.path("data"), scratch.path("socket"));
        let installed = Command::new("mariadb-install-db")
            .args([
                "--no-defaults",
                "--user=root",
                "--auth-root-authentication-method=normal",
            ])
            .arg(format!("--datadir={}", data.display()))
            .output()
            .unwrap();
        Run::from(installed).ok();
        let server = Command::new("mariadbd")
            .args([
                "--no-defaults",
                "--user=root",
                "--skip-networking",
                "--sql-mode=",
            ])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let maria = MariaDb { server, socket };
        wait_for("MariaDB answers", || {
            maria.client("mariadb", &["-e", "SELECT 1"], b"").code == Some(0)
        });
        maria
    }

    fn client(&self, program: &str, words: &[&str], input: &[u8]) -> Run {
        let mut client = Command::new(program)
            .args([
                "--no-defaults",
                "--user=root",
                "--default-character-set=utf8mb4",
            ])
            .arg(format!("--socket={}", self.socket.display()))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        let input = input.to_vec();
        let writes = std::thread::spawn(move || stdin.write_all(&input));
        let run = Run::from(client.wait_with_output().unwrap());
        let _ = writes.join().expect("the writer ends");
        run
    }

    /// As [`hexed`] does it.
    fn hexed(&self, table: &str) -> Vec<String> {
        let sql = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'wp' AND table_name = '{table}' ORDER BY ordinal_position"
        );
        let names = self.client("mariadb", &["-N", "-e", &sql], b"").ok();
        let names: Vec<&str> = names.text().lines().collect();
        // Numbers compare as their digits.
        let hexed = |name: &&str| {
            format!(
                "ifnull(hex(if('{name}' = 'bits', `{name}` + 0, cast(`{name}` as binary))), 'NULL')"
            )
        };
        let columns = names.iter().map(hexed).collect::<Vec<_>>().join(",' ',");
        let sql = format!(
            "SELECT concat({columns}) FROM wp.`{table}` ORDER BY `{}`, 1",
            names[0]
        );
        let rows = self.client("mariadb", &["-N", "-e", &sql], b"").ok();
        rows.text().lines().map(str::to_owned).collect()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn every_column_of_a_real_server_is_equal() {
    if !have("mariadbd") || !have("mariadb-dump") || !is_root() {
        skip!("no MariaDB (apt-get install mariadb-server), or not root");
    }
    let Some((_, files, sql)) = on_mysql() else {
        skip!("the plugin is not there, and cannot be fetched");
    };
    let scratch = Scratch::new();
    let maria = MariaDb::start(&scratch);
    maria
        .client(
            "mariadb",
            &["-e", "CREATE DATABASE wp CHARACTER SET utf8mb4"],
            b"",
        )
        .ok();
    maria
        .client("mariadb", &["wp"], &fs::read(sql).unwrap())
        .ok();
    for options in [
        &["wp"][..],
        &[
            "--hex-blob",
            "--skip-extended-insert",
            "--complete-insert",
            "wp",
        ],
    ] {
        let dumped = maria.client("mariadb-dump", options, b"").ok();
        let file = scratch.path("real.sql");
        fs::write(&file, dumped.stdout).unwrap();
        let site = scratch.path(options.len().to_string());
        import(&file, files, &site, &[]).ok();
        for table in tables().chain(["wp_nasty"]) {
            let (ours, theirs) = (hexed(&database(&site), table), maria.hexed(table));
            assert!(
                ours == theirs,
                "{table}: {:?}",
                ours.iter().zip(&theirs).find(|(a, b)| a != b)
            );
        }
    }
}
