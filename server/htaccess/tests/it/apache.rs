//! The same rules, files and requests by a real Apache.
//!
//! The test starts Debian's `apache2` with a configuration, port and document root of its own on loopback, and ends it. The
//! document root is a symbolic link that is turned to each case in turn. Scripts are Lua, run by `mod_lua`, which put into
//! words what they see; names of PHP's handlers in rules become the name of Lua's.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::{self, Asked, Case};
use crate::generate;
use crate::site::{MODIFIED, Memory, TYPES, VARIABLES, answer, header_lines, rules};

const MODULES: [&str; 22] = [
    "access_compat",
    "alias",
    "auth_basic",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_groupfile",
    "authz_host",
    "authz_user",
    "autoindex",
    "dir",
    "env",
    "expires",
    "headers",
    "lua",
    "mime",
    "negotiation",
    "remoteip",
    "rewrite",
    "setenvif",
    "mpm_prefork",
    "filter",
];

/// A running Apache.
struct Apache {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, if there is one; without it the test fails where it could have been installed.
fn program() -> Option<PathBuf> {
    let found = ["/usr/sbin/apache2", "/usr/bin/apache2"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists() && Path::new("/usr/lib/apache2/modules/mod_lua.so").exists());
    let must = std::env::var_os("CI").is_some() || is_root();
    assert!(found.is_some() || !must, "apt-get install apache2-bin");
    if found.is_none() {
        eprintln!("skipped: apache2-bin is not installed");
    }
    found
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("Uid:"));
    line.is_some_and(|line| line.split_whitespace().nth(2) == Some("0"))
}

impl Apache {
    fn start(program: &Path) -> Apache {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        // Free now, and very likely still free in a moment.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let config = directory.path().join("apache2.conf");
        fs::write(&config, configuration(directory.path(), port)).expect("writable");
        let types: String = TYPES
            .iter()
            .map(|(extension, media_type)| format!("{media_type} {extension}\n"))
            .collect();
        fs::write(directory.path().join("types"), types).expect("writable");
        fs::create_dir(directory.path().join("empty")).expect("writable");
        symlink("empty", directory.path().join("site")).expect("writable");
        let child = Command::new(program)
            .arg("-X")
            .arg("-f")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("apache2 starts");
        let apache = Apache {
            child,
            port,
            directory,
        };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let waited = start.elapsed() < Duration::from_secs(10);
            assert!(waited, "apache2 does not listen\n{}", apache.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        apache
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default()
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("site")
    }

    /// Turns the document root to a case.
    fn turn_to(&self, case: &Case, number: usize) {
        let name = format!("case-{number}");
        let directory = self.directory.path().join(&name);
        write_files(case, &directory, &self.root().to_string_lossy());
        let next = self.directory.path().join("next");
        symlink(&name, &next).expect("writable");
        fs::rename(&next, self.root()).expect("writable");
    }

    /// Asks, and puts the answer into words as the site in memory does. `None` when there is none: some rules make this
    /// Apache crash.
    fn ask(&self, asked: &Asked) -> Option<Vec<String>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).expect("a time");
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-Remote: {}\r\n",
            asked.method, asked.target, asked.host, asked.remote
        );
        for (name, value) in &asked.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let root = self.root();
        (!text.is_empty()).then(|| in_words(&text, &root.to_string_lossy()))
    }
}

fn configuration(directory: &Path, port: u16) -> String {
    let at = directory.display();
    let modules: String = MODULES
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let user = match is_root() {
        true => "User nobody\nGroup nogroup\n",
        false => "",
    };
    format!(
        "ServerRoot {at}\nServerName example.org\nListen 127.0.0.1:{port}\n{modules}{user}\
         PidFile {at}/pid\nErrorLog {at}/error.log\nLogLevel {level}\nDefaultRuntimeDir {at}\n\
         Mutex file:{at} default\nTypesConfig {at}/types\nServerSignature Off\n\
         RemoteIPHeader X-Remote\nRemoteIPInternalProxy 127.0.0.1\nTimeout 20\n\
         <Directory />\n  Options FollowSymLinks\n  Require all granted\n</Directory>\n\
         <VirtualHost *:*>\n  ServerName example.org:80\n  DocumentRoot {at}/site\n</VirtualHost>\n\
         <Directory {at}/site>\n  AllowOverride All\n  AddHandler lua-script .php\n\
         DirectoryIndex index.php index.html\n</Directory>\n",
        level = std::env::var("ZAPP_APACHE_LOG").unwrap_or_else(|_| "crit".to_owned()),
    )
}

/// A case's files on disk, all readable by anybody.
fn write_files(case: &Case, directory: &Path, root: &str) {
    fs::create_dir(directory).expect("writable");
    let parent = |path: &Path| {
        fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
    };
    let write = |path: &Path, text: &str| {
        parent(path);
        fs::write(path, text).expect("writable");
        let file = fs::File::open(path).expect("just written");
        let modified = u64::try_from(MODIFIED).expect("after 1970");
        let time = std::time::UNIX_EPOCH + Duration::from_secs(modified);
        file.set_modified(time).expect("ours");
    };
    for line in &case.files {
        if let Some((path, target)) = line.split_once(" -> ") {
            let path = directory.join(path);
            parent(&path);
            symlink(target, path).expect("writable");
        } else if line.ends_with('/') {
            fs::create_dir_all(directory.join(line)).expect("writable");
        } else if let Some((path, text)) = line.split_once(" = ") {
            write(&directory.join(path), &text.replace("\\n", "\n"));
        } else {
            let is_script = line.split('.').skip(1).any(|e| e == "php") || line.contains(".lua");
            let text = match is_script {
                true => script(line),
                false => format!("file:/{line}\n"),
            };
            write(&directory.join(line), &text);
        }
    }
    for (path, text) in &case.rules {
        let text = text
            .replace("application/x-httpd-php", "lua-script")
            .replace("/site/", &format!("{root}/"));
        write(&directory.join(path), &text);
    }
}

fn script(path: &str) -> String {
    let names: Vec<String> = VARIABLES.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "-- file:/{path}\nfunction handle(r)\n  r.content_type = \"text/html\"\n\
         r:puts(\"run \" .. r.filename .. \" uri=\" .. r.uri)\n\
         if r.args ~= nil then r:puts(\" query=\" .. r.args) end\n\
         if r.path_info ~= nil and r.path_info ~= \"\" then r:puts(\" info=\" .. r.path_info) end\n\
         if r.user ~= nil then r:puts(\" user=\" .. r.user) end\n\
         for _, name in ipairs({{{}}}) do\n\
         local value = r.subprocess_env[name]\n\
         if value ~= nil then r:puts(\" \" .. name .. \"=\" .. value) end\n\
         end\n  return apache2.OK\nend\n",
        names.join(", ")
    )
}

fn in_words(text: &str, root: &str) -> Vec<String> {
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("a status line");
    let status = status_line.split(' ').nth(1).expect("a status");
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').expect("a header"))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let is_chunked = headers.iter().any(|(_, value)| value == "chunked");
    let body = match is_chunked {
        true => body.split("\r\n").nth(1).unwrap_or_default(),
        false => body,
    };
    let words = if let Some(rest) = body.strip_prefix("run ") {
        format!(" run {}", rest.replacen(root, "", 1))
    } else if let Some(rest) = body.strip_prefix("file:") {
        format!(" file {}", rest.trim_end())
    } else if let Some(rest) = body.strip_prefix("-- file:") {
        format!(" file {}", rest.lines().next().unwrap_or_default())
    } else if let Some(at) = body.find("<title>Index of ") {
        let rest = &body[at + 16..];
        let end = rest.find('<').expect("it is closed");
        let slash = if rest[..end].ends_with('/') { "" } else { "/" };
        format!(" list {}{slash}", &rest[..end])
    } else if body.is_empty() || body.starts_with("<!DOCTYPE HTML PUBLIC") {
        String::new()
    } else {
        format!(" says {body}")
    };
    let mut out = vec![format!("{status}{words}")];
    out.extend(header_lines(headers.into_iter()));
    out.into_iter()
        .map(|line| line.replace(root, "/site"))
        .collect()
}

/// Makes what depends on the moment comparable: Apache's clock is not ours.
fn settled(lines: &[String]) -> Vec<String> {
    let is_age = |line: &&String| line.starts_with("expires:");
    let mut settled: Vec<String> = lines
        .iter()
        .map(|line| match line.strip_prefix("vary: ") {
            Some(names) => {
                let names = names.split(',').map(str::trim).map(str::to_lowercase);
                let names: std::collections::BTreeSet<String> = names.collect();
                format!("vary: {names:?}")
            }
            None if is_age(&line) => "expires: at some time".to_owned(),
            None => line.clone(),
        })
        .collect();
    settled.sort();
    settled
}

/// HEAD has no body, so only status and headers are compared, and not the type, which Lua's scripts do not say then.
fn comparable(lines: Vec<String>, asked: &Asked) -> Vec<String> {
    let mut lines = settled(&lines);
    for line in &mut lines {
        if let Some(at) = line.find(" because ") {
            line.truncate(at);
        }
        // A script that is not run is refused here; Apache sends its source.
        *line = line.replace("200 off ", "200 file ");
    }
    if asked.method == "HEAD" {
        for line in &mut lines {
            if line.starts_with(|c: char| c.is_ascii_digit()) {
                line.truncate(3);
            }
        }
        let of_type = ["content-type", "cache-control", "expires"];
        lines.retain(|line| !of_type.iter().any(|name| line.starts_with(name)));
    }
    lines
}

/// Compares cases. Gives how many requests were compared, and what differs.
fn compare(apache: &mut Apache, program: &Path, cases: &[Case]) -> (usize, Vec<String>) {
    let mut requests = 0;
    let mut crashes = 0;
    let mut differences = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        apache.turn_to(case, number);
        for asked in &case.requests {
            let Some(theirs) = apache.ask(asked) else {
                crashes += 1;
                *apache = Apache::start(program);
                break;
            };
            requests += 1;
            let theirs = comparable(theirs, asked);
            let root = apache.root().to_string_lossy().into_owned();
            let memory = Memory::at(&root, case);
            let rules = rules(case, &memory);
            let ours = answer(&rules, &memory, asked).into_iter();
            let ours = ours.map(|line| line.replace(&root, "/site")).collect();
            let ours = comparable(ours, asked);
            if ours != theirs {
                let texts: Vec<String> = case
                    .rules
                    .iter()
                    .map(|(path, text)| format!("--- {path}\n{text}"))
                    .collect();
                differences.push(format!(
                    "{}\n{}{} {} {} {} {:?}\n  apache\n    {}\n  ours\n    {}\n",
                    case.name,
                    texts.concat(),
                    asked.method,
                    asked.target,
                    asked.host,
                    asked.remote,
                    asked.headers,
                    theirs.join("\n    "),
                    ours.join("\n    "),
                ));
            }
        }
        let _ = fs::remove_dir_all(apache.directory.path().join(format!("case-{number}")));
    }
    // A crash is Apache's own affair, but it must not hide what is compared.
    assert!(crashes <= cases.len() / 500, "{crashes} crashes");
    (requests, differences)
}

/// Says what differs; `allowed` requests may.
fn report(what: &str, cases: usize, requests: usize, differences: &[String], allowed: usize) {
    eprintln!(
        "{what}: {cases} rule sets, {requests} requests, {} differ",
        differences.len()
    );
    let shown = differences.len().min(40);
    let is_alike = differences.len() <= allowed;
    assert!(is_alike, "{}", differences[..shown].join("\n"));
    if !differences.is_empty() {
        eprintln!("{}", differences[..shown].join("\n"));
    }
}

#[test]
fn apache_answers_the_text_cases_in_the_same_way() {
    let Some(program) = program() else {
        return;
    };
    let mut apache = Apache::start(&program);
    let cases: Vec<Case> = case::all().into_iter().filter(|case| !case.ours).collect();
    let (requests, differences) = compare(&mut apache, &program, &cases);
    report("text cases", cases.len(), requests, &differences, 0);
}

/// 400 rule sets, or 10,000 with `ZAPP_TEST_FULL=1`; `ZAPP_SEED` starts elsewhere.
#[test]
fn apache_answers_generated_rules_in_the_same_way() {
    let Some(program) = program() else {
        return;
    };
    let full = std::env::var_os("ZAPP_TEST_FULL").is_some();
    let count = if full { 10_000 } else { 400 };
    let seed = std::env::var("ZAPP_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut apache = Apache::start(&program);
    let cases: Vec<Case> = (0..count)
        .map(|index| generate::case(seed + index))
        .collect();
    let (requests, differences) = compare(&mut apache, &program, &cases);
    // What differs in some of ten thousand: names longer than a file's may be, rules that run for every file that Apache
    // lists, and growth that ends here sooner.
    report(
        "generated",
        cases.len(),
        requests,
        &differences,
        requests / 4000,
    );
}
