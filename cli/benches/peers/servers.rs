//! The servers that are compared, each on a port of its own and gone when its value is dropped.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Connection, Reply};
use crate::process;

/// A site as a directory that a server may write.
pub(crate) struct Site {
    root: PathBuf,
    urls: PathBuf,
}

impl Site {
    /// A copy, because WordPress writes to its database.
    pub(crate) fn copy(source: &Path, target: &Path) -> Site {
        crate::run(Command::new("cp").arg("-a").arg(source).arg(target));
        Site {
            root: target.to_owned(),
            urls: source.join("../urls.txt"),
        }
    }

    pub(crate) fn at(root: &Path) -> Site {
        Site {
            root: root.to_owned(),
            urls: PathBuf::new(),
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.urls).expect("the fixture lists its paths");
        text.lines().map(str::to_owned).collect()
    }
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// A request takes so long that fewer of them do.
    pub(crate) is_slow: bool,
    children: Vec<Child>,
    #[expect(dead_code, reason = "gone with the server")]
    files: tempfile::TempDir,
}

impl Server {
    /// A client whose connection stays from one request to the next, as those of browsers and proxies do.
    pub(crate) fn connect(&self) -> Connection {
        Connection::new(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.connect().get(path)
    }

    /// Seconds of CPU time so far.
    pub(crate) fn cpu(&self) -> f64 {
        self.children
            .iter()
            .map(|child| process::cpu_seconds(child.id()))
            .sum()
    }

    pub(crate) fn memory(&self) -> String {
        let mib: u64 = self
            .children
            .iter()
            .map(|child| process::memory_mib(child.id()))
            .sum();
        format!("{mib} MiB (Pss)")
    }

    fn wait(self) -> Result<Server, String> {
        let since = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if since.elapsed() > Duration::from_secs(60) {
                return Err(format!("{}: does not listen", self.name));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in &mut self.children {
            let pid = rustix::process::Pid::from_child(child);
            // One that has ended already is what is wanted.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = child.wait();
        }
    }
}

/// zapp on an image.
pub(crate) fn zapp(name: &'static str, image: &Path, options: &[&str]) -> Result<Server, String> {
    let files = scratch();
    let address = free_address();
    let mut command = Command::new(crate::ZAPP);
    command.args([
        "serve",
        "--quiet",
        "--no-watch",
        "-n",
        "2",
        "--listen",
        &address.to_string(),
    ]);
    let child = spawn(command.args(options).arg(image))?;
    Server {
        name,
        address,
        is_slow: false,
        children: vec![child],
        files,
    }
    .wait()
}

/// Debian's php-fpm with two processes, behind nginx.
pub(crate) fn fpm(name: &'static str, site: &Site, lines: &[&str]) -> Result<Server, String> {
    let files = scratch();
    let address = free_address();
    let dir = files.path().display();
    let lines = lines.join("\n");
    let pool = format!(
        "[global]\nerror_log = {dir}/fpm.log\ndaemonize = no\n[bench]\nuser = root\ngroup = root\nlisten = {dir}/fpm.sock\n\
         pm = static\npm.max_children = 2\nphp_admin_value[opcache.validate_timestamps] = 0\n\
         php_admin_value[opcache.memory_consumption] = 128\n{lines}\n"
    );
    let web = format!(
        "user root;\nworker_processes 2;\npid {dir}/nginx.pid;\nerror_log {dir}/nginx.log;\ndaemon off;\nevents {{}}\n\
         http {{ access_log off; include /etc/nginx/mime.types; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;\n\
         fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; fastcgi_buffers 32 16k;\n\
         server {{ listen {address}; root {root}; index index.php;\n\
         location / {{ try_files $uri $uri/ /index.php?$args; }}\n\
         location ~ \\.php$ {{ include /etc/nginx/fastcgi.conf; fastcgi_pass unix:{dir}/fpm.sock; }} }} }}\n",
        root = site.root.display(),
    );
    fs::write(files.path().join("fpm.conf"), pool).map_err(|e| e.to_string())?;
    fs::write(files.path().join("nginx.conf"), web).map_err(|e| e.to_string())?;
    let fpm = spawn(
        Command::new("php-fpm8.2")
            .args(["-R", "-F", "-y"])
            .arg(files.path().join("fpm.conf")),
    )?;
    let nginx = spawn(
        Command::new("nginx")
            .arg("-p")
            .arg(files.path())
            .arg("-c")
            .arg(files.path().join("nginx.conf")),
    )?;
    Server {
        name,
        address,
        is_slow: false,
        children: vec![fpm, nginx],
        files,
    }
    .wait()
}

/// Debian's php-cgi, a process for each request, behind lighttpd's CGI module.
pub(crate) fn spawned_cgi(
    name: &'static str,
    site: &Site,
    options: &[&str],
) -> Result<Server, String> {
    let files = scratch();
    let address = free_address();
    let dir = files.path().display();
    let wrapper = files.path().join("php");
    let script = format!("#!/bin/sh\nexec php-cgi8.2 {} \"$@\"\n", options.join(" "));
    fs::write(&wrapper, script).map_err(|e| e.to_string())?;
    crate::run(Command::new("chmod").arg("755").arg(&wrapper));
    let configuration = format!(
        "server.document-root = \"{root}\"\nserver.port = {port}\nserver.bind = \"127.0.0.1\"\nindex-file.names = ( \"index.php\" )\n\
         server.modules = ( \"mod_cgi\", \"mod_rewrite\" )\nserver.upload-dirs = ( \"{dir}\" )\n\
         cgi.assign = ( \".php\" => \"{dir}/php\" )\nurl.rewrite-if-not-file = ( \"^([^?]*)(\\?.*)?$\" => \"/index.php$2\" )\n",
        root = site.root.display(),
        port = address.port(),
    );
    fs::write(files.path().join("lighttpd.conf"), configuration).map_err(|e| e.to_string())?;
    let child = spawn(
        Command::new("lighttpd")
            .arg("-D")
            .arg("-f")
            .arg(files.path().join("lighttpd.conf")),
    )?;
    Server {
        name,
        address,
        is_slow: true,
        children: vec![child],
        files,
    }
    .wait()
}

/// WordPress Playground's command line, from npm.
pub(crate) fn playground(name: &'static str, site: &Site) -> Result<Server, String> {
    let files = scratch();
    let address = free_address();
    crate::run(
        Command::new("npm")
            .args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"])
            .arg(files.path())
            .arg("@wp-playground/cli@3.1.56"),
    );
    let mut command = Command::new(files.path().join("node_modules/.bin/wp-playground-cli"));
    command
        .args(["server", "--php", "8.2", "--mount-dir-before-install"])
        .arg(&site.root)
        .arg("/wordpress");
    command.args([
        "--wordpress-install-mode",
        "do-not-attempt-installing",
        "--skip-sqlite-setup",
        "--port",
    ]);
    let child = spawn(command.arg(address.port().to_string()))?;
    let server = Server {
        name,
        address,
        is_slow: true,
        children: vec![child],
        files,
    }
    .wait()?;
    // It listens before it can answer.
    let since = Instant::now();
    while server.get("/").status != 200 && since.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(server)
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map_err(|error| format!("{name}: {error}"))
}
