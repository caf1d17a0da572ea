//! Rule sets made by chance, of pieces that Apache accepts: the same number gives the same set.

use crate::case::{Asked, Case};

const FILES: [&str; 20] = [
    "index.php",
    "a.php",
    "a.txt",
    "b.html",
    "img.png",
    "page.html",
    "x.php.txt",
    "dir/index.php",
    "dir/x.txt",
    "dir/a.php",
    "dir/sub/y.php",
    "dir/sub/z.css",
    "dir/sub/index.html",
    "other/x.txt",
    "other/deep/f.txt",
    "other/deep/index.php",
    "empty/",
    "link -> dir",
    "ln.txt -> a.txt",
    "errors/404.php",
];

const PATHS: [&str; 40] = [
    "/",
    "/index.php",
    "/a.php",
    "/a.php/info/more",
    "/a.txt",
    "/a.txt/x",
    "/b.html",
    "/img.png",
    "/page",
    "/page.html",
    "/x.php.txt",
    "/dir",
    "/dir/",
    "/dir/x.txt",
    "/dir/a.php",
    "/dir/nope",
    "/dir/nope/deeper",
    "/dir/sub",
    "/dir/sub/",
    "/dir/sub/y.php",
    "/dir/sub/y.php/i",
    "/dir/sub/z.css",
    "/dir/sub/nope.html",
    "/other",
    "/other/",
    "/other/x.txt",
    "/other/deep/f.txt",
    "/other/deep/",
    "/empty",
    "/empty/",
    "/link/x.txt",
    "/link/nope",
    "/ln.txt",
    "/nope",
    "/nope/",
    "/nope/a/b",
    "/blog/2025/12/a-post",
    "/item-42.html",
    "/a%20b",
    "/UPPER/Case.TXT",
];

const QUERIES: [&str; 9] = [
    "",
    "",
    "",
    "?",
    "?x=1",
    "?id=7&y",
    "?page=a%20b",
    "?go",
    "?x=1&x=2",
];

const PATTERNS: [&str; 34] = [
    "^$",
    ".",
    "^",
    "(.*)",
    "^(.*)$",
    "^(.+)$",
    r"^a\.txt$",
    r"^([^/]+)/?$",
    r"^(.*)\.html$",
    r"^item-(\d+)\.html$",
    r"^blog/(\d{4})/(\d\d)/(.*)$",
    "^nope",
    "nope$",
    "!^dir/",
    r"!\.(txt|png|css)$",
    r"\.php$",
    r"^index\.php$",
    "^dir/(.*)$",
    "^sub/?",
    "^x\\.txt$",
    r"^(?:a|b)\.(php|html)$",
    "^(?!dir|a).+",
    "^page$",
    "(?i)^upper/(.*)$",
    r"^(\w+)/(\w+)",
    "^a b$",
    r"^.*/deep/",
    r"(^|/)\.",
    "^link/",
    r"^(.)(.).*\2",
    "[A-Z]",
    "^empty/?$",
    r"^(?=.*o)n.*e$",
    "^go/(.*)$",
];

const TARGETS: [&str; 24] = [
    "-",
    "-",
    "index.php",
    "/index.php",
    "/a.php",
    "a.php?p=$1",
    "/a.php?p=$1&q=$2",
    "index.php/$1",
    "/dir/$1",
    "dir/$1",
    "$1.html",
    "/$1",
    "$1",
    "/a.txt",
    "x.txt",
    "http://example.net/$1",
    "/nope",
    "/a.php?u=%{REQUEST_URI}",
    "/a.php?f=%{REQUEST_FILENAME}",
    "/a.php?",
    "/a.php?c=%1-%2",
    "//a.php",
    "/dir/sub/",
    "/a.php?e=%{ENV:A}",
];

const FLAGS: [&str; 33] = [
    "",
    "",
    "[L]",
    "[L]",
    "[L]",
    "[QSA,L]",
    "[QSA]",
    "[R]",
    "[R=301,L]",
    "[R=307,NE]",
    "[F]",
    "[G]",
    "[NC,L]",
    "[END]",
    "[PT]",
    "[E=A:$1]",
    "[E=B:%1,L]",
    "[E=!A]",
    "[S=1]",
    "[C]",
    "[NE,L]",
    "[B,L]",
    "[QSD,L]",
    "[DPI,L]",
    "[NS,L]",
    "[R=404]",
    "[T=text/css]",
    "[CO=n:$1:example.org,L]",
    "[QSL]",
    "[B= ?&,BNP]",
    "[R=410,L]",
    "[L,R=303]",
    "[BNE=/,B]",
];

const CONDITIONS: [&str; 40] = [
    "%{REQUEST_FILENAME} !-f",
    "%{REQUEST_FILENAME} !-f",
    "%{REQUEST_FILENAME} !-d",
    "%{REQUEST_FILENAME} -f",
    "%{REQUEST_FILENAME} -d",
    "%{REQUEST_FILENAME} -l",
    "%{REQUEST_FILENAME}.html -f",
    "%{DOCUMENT_ROOT}/$1.html -f",
    "%{QUERY_STRING} ^$",
    "%{QUERY_STRING} id=(\\d+)",
    "%{QUERY_STRING} !^$",
    "%{REQUEST_METHOD} =POST",
    "%{REQUEST_METHOD} !^GET$",
    "%{HTTP_HOST} ^www\\.(.*)$ [NC]",
    "%{HTTP_HOST} !^example\\.org$",
    "%{HTTP_USER_AGENT} (bot|spider) [NC]",
    "%{HTTP_USER_AGENT} ^$",
    "%{HTTP_REFERER} !^$",
    "%{REQUEST_URI} ^/dir/(.*)$",
    "%{REQUEST_URI} !^/a\\.php",
    "%{REQUEST_URI} =/nope",
    "%{THE_REQUEST} \\s/index\\.php[\\s?]",
    "%{HTTPS} off",
    "%{REMOTE_ADDR} ^10\\.",
    "%{ENV:REDIRECT_STATUS} ^$",
    "%{ENV:REDIRECT_STATUS} =200",
    "%{ENV:A} =yes",
    "%{IS_SUBREQ} =false",
    "%{PATH_INFO} .",
    "$1 ^d(.)",
    "%{REQUEST_URI} >/m",
    "%{SERVER_PORT} -eq80",
    "%{HTTP:X-Test} ^(one|two)$",
    "%{HTTP_COOKIE} lang=([a-z]+)",
    "%{REQUEST_FILENAME} -F",
    "/a.txt -U",
    "%{REQUEST_URI}::$1 ^(.*?/)(.*)::\\2$",
    "expr \"%{QUERY_STRING} -strmatch '*x*'\"",
    "%{TIME_YEAR} >1000",
    "%{SCRIPT_FILENAME} \\.php$",
];

const ACCESS: [&str; 24] = [
    "Require all denied",
    "Require all granted",
    "Require ip 10.0.0.0/8",
    "Require local",
    "Require env A",
    "Require method GET POST",
    "Require expr %{QUERY_STRING} == 'go'",
    "Order allow,deny\nAllow from all\nDeny from 10.1",
    "Order deny,allow\nDeny from all\nAllow from 127.0.0.1 env=A",
    "Deny from all",
    "Allow from all",
    "Order allow,deny",
    "<RequireAll>\nRequire all granted\nRequire not ip 10.1.2.3\n</RequireAll>",
    "<RequireAny>\nRequire ip 10.1.2.3\nRequire env B\n</RequireAny>",
    "<RequireAll>\nRequire method GET\n<RequireAny>\nRequire ip 10\nRequire local\n</RequireAny>\n</RequireAll>",
    "<RequireAll>\nRequire all granted\n<RequireNone>\nRequire env A\n</RequireNone>\n</RequireAll>",
    "<Limit POST>\nRequire all denied\n</Limit>",
    "<LimitExcept GET>\nDeny from all\n</LimitExcept>",
    "Satisfy Any",
    "AuthMerging And\nRequire ip 10",
    "AuthMerging Or\nRequire method POST",
    "AuthType Basic\nAuthName r\nAuthUserFile /site/.htpasswd\nRequire valid-user",
    "AuthType Basic\nAuthName \"a b\"\nAuthUserFile /site/.htpasswd\nSatisfy Any\nRequire user ann",
    "AuthType None\nRequire all granted",
];

const SECTIONS: [(&str, &str); 15] = [
    ("<Files a.txt>", "</Files>"),
    ("<Files \"*.txt\">", "</Files>"),
    ("<Files \"*.php\">", "</Files>"),
    ("<Files index.php>", "</Files>"),
    ("<Files \"?.html\">", "</Files>"),
    ("<FilesMatch \"\\.(txt|css)$\">", "</FilesMatch>"),
    ("<FilesMatch \"^[a-d]\">", "</FilesMatch>"),
    ("<Files ~ \"^nope\">", "</Files>"),
    ("<If \"%{QUERY_STRING} == 'go'\">", "</If>"),
    ("<If \"%{REQUEST_URI} =~ m#^/dir#\">", "</If>"),
    (
        "<If \"-n %{HTTP_USER_AGENT} && ! -f %{REQUEST_FILENAME}\">",
        "</If>",
    ),
    ("<If \"%{REMOTE_ADDR} -ipmatch '10.0.0.0/8'\">", "</If>"),
    (
        "<If \"reqenv('A') == 'yes' || req('X-Test') =~ /^t/\">",
        "</If>",
    ),
    ("<IfModule mod_rewrite.c>", "</IfModule>"),
    ("<IfModule !mod_headers.c>", "</IfModule>"),
];

const OTHERS: [&str; 64] = [
    "Redirect /nope /a.txt",
    "Redirect 301 /dir/nope http://example.net/x",
    "Redirect gone /other/x.txt",
    "Redirect 404 /img.png",
    "Redirect permanent /blog /weblog",
    "RedirectMatch ^/item-(\\d+) /a.php?i=$1",
    "RedirectMatch 303 ^/page$ /b.html",
    "RedirectMatch 410 \\.png$",
    "RedirectMatch 301 ^/a(.*)b$ http://example.net/$1",
    "DirectoryIndex b.html index.php",
    "DirectoryIndex x.txt",
    "DirectoryIndex disabled",
    "DirectoryIndex nope.html /a.php",
    "DirectorySlash Off",
    "FallbackResource /a.php",
    "FallbackResource /dir/index.php",
    "FallbackResource disabled",
    "Options -Indexes",
    "Options +Indexes",
    "Options Indexes FollowSymLinks",
    "Options -FollowSymLinks",
    "Options None",
    "Options All",
    "ErrorDocument 404 /errors/404.php",
    "ErrorDocument 404 \"Nothing at %{REQUEST_URI}\"",
    "ErrorDocument 403 \"No entry\"",
    "ErrorDocument 404 http://example.net/lost",
    "ErrorDocument 404 /not-there",
    "ErrorDocument 404 default",
    "Header set X-One 1",
    "Header always set X-Two 2",
    "Header append X-One more",
    "Header merge X-One 1",
    "Header unset X-One",
    "Header always unset X-Two",
    "Header add X-Three %{A}e",
    "Header edit X-One ^(.) [$1]",
    "Header setifempty X-Four 4 env=A",
    "Header set X-Five 5 env=!A",
    "Header set X-Six \"expr=%{REQUEST_URI}\"",
    "Header set X-Seven 7 \"expr=%{REQUEST_STATUS} == 200\"",
    "Header echo ^X-Test$",
    "Header set Cache-Control no-cache",
    "RequestHeader set X-Test two",
    "RequestHeader unset User-Agent",
    "SetEnv A yes",
    "SetEnv B \"two words\"",
    "UnsetEnv A",
    "SetEnvIf Request_URI ^/dir A=yes",
    "SetEnvIf User-Agent (bot) B=$1 A=yes",
    "SetEnvIfNoCase X-Test ONE A=yes !B",
    "SetEnvIf Remote_Addr ^10\\. B",
    "SetEnvIf Request_Method POST A",
    "BrowserMatch bot block",
    "SetEnvIfExpr \"%{QUERY_STRING} =~ /^(.)/\" C=$1",
    "AddType text/css .png",
    "AddType text/x-own html",
    "AddCharset utf-8 .html",
    "AddDefaultCharset utf-8",
    "AddEncoding x-gzip css",
    "AcceptPathInfo On",
    "AcceptPathInfo Off",
    "ExpiresActive On\nExpiresDefault A60\nExpiresByType text/html \"access plus 1 day\"",
    "ExpiresActive Off",
];

/// Numbers by chance: xorshift64*.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// The case of a number.
pub(crate) fn case(seed: u64) -> Case {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        chance.below(2);
    }
    let mut case = Case {
        name: format!("seed {seed}"),
        files: FILES.map(str::to_owned).to_vec(),
        ..Case::default()
    };
    let hash = "$apr1$kL4Hrc2v$h2dp/VoAMs/ZyikBmshAr0";
    case.files
        .push(format!(".htpasswd = ann:{hash}\\nbob:{hash}\\n"));
    for directory in ["", "dir/", "dir/sub/", "other/"] {
        let wanted = directory.is_empty() || chance.one_in(3);
        if wanted {
            let text = rules(&mut chance);
            case.rules.push((format!("{directory}.htaccess"), text));
        }
    }
    for _ in 0..8 {
        case.requests.push(request(&mut chance));
    }
    case
}

fn rules(chance: &mut Chance) -> String {
    let mut text = String::new();
    if chance.one_in(2) {
        rewriting(chance, &mut text);
    }
    for _ in 0..chance.below(4) {
        let piece = piece(chance);
        if chance.one_in(4) {
            let (open, close) = chance.of(&SECTIONS);
            // Limits of methods do not go into conditions, and a section has one piece.
            text.push_str(&format!("{open}\n{piece}\n{close}\n"));
        } else {
            text.push_str(&format!("{piece}\n"));
        }
    }
    text
}

fn piece(chance: &mut Chance) -> String {
    match chance.below(4) {
        0 => (*chance.of(&ACCESS)).to_owned(),
        _ => (*chance.of(&OTHERS)).to_owned(),
    }
}

fn rewriting(chance: &mut Chance, text: &mut String) {
    text.push_str("RewriteEngine On\n");
    if chance.one_in(5) {
        let base = chance.of(&["/", "/dir/", "/dir"]);
        text.push_str(&format!("RewriteBase {base}\n"));
    }
    if chance.one_in(8) {
        let options = [
            "Inherit",
            "InheritBefore",
            "InheritDown",
            "InheritDownBefore",
            "IgnoreInherit",
            "AllowNoSlash",
            "MergeBase",
        ];
        text.push_str(&format!("RewriteOptions {}\n", chance.of(&options)));
    }
    for _ in 0..=chance.below(4) {
        let conditions = chance.below(3);
        for index in 0..conditions {
            let condition = chance.of(&CONDITIONS);
            // Apache reads beyond its list when the last condition has the flag.
            let is_last = index + 1 == conditions;
            let or = chance.one_in(3) && !is_last && !condition.ends_with(']');
            let or = if or { " [OR]" } else { "" };
            text.push_str(&format!("RewriteCond {condition}{or}\n"));
        }
        let pattern = match chance.of(&PATTERNS) {
            pattern if pattern.contains(' ') => format!("\"{pattern}\""),
            pattern => (*pattern).to_owned(),
        };
        let flags = match chance.of(&FLAGS) {
            flags if flags.contains(' ') => format!("\"{flags}\""),
            flags => (*flags).to_owned(),
        };
        let target = chance.of(&TARGETS);
        text.push_str(&format!("RewriteRule {pattern} {target} {flags}\n"));
    }
}

fn request(chance: &mut Chance) -> Asked {
    let path = chance.of(&PATHS);
    let query = chance.of(&QUERIES);
    let mut asked = Asked::get(&format!("{path}{query}"));
    asked.method = (*chance.of(&["GET", "GET", "GET", "GET", "POST", "HEAD"])).to_owned();
    if chance.one_in(4) {
        asked.remote = (*chance.of(&["10.1.2.3", "10.9.9.9", "192.0.2.1"])).to_owned();
    }
    if chance.one_in(6) {
        asked.host = "www.example.org".to_owned();
    }
    for header in [
        "User-Agent: A bot",
        "User-Agent: Mozilla",
        "Referer: http://example.net/",
        "X-Test: one",
        "Cookie: a=b; lang=de",
        "Authorization: Basic YW5uOnNlY3JldA==",
        "Authorization: Basic Ym9iOndyb25n",
    ] {
        let (name, value) = header.split_once(": ").expect("a header");
        let is_new = asked.headers.iter().all(|(known, _)| known != name);
        if is_new && chance.one_in(6) {
            asked.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    asked
}
