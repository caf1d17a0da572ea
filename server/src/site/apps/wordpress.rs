//! WordPress: what it needs to run from an image that cannot change.
//!
//! It is known by `wp-includes/version.php`, in the document root or in a folder of it. A folder is either where WordPress
//! keeps its own files (the site's `index.php` loads it from there) or a site of its own below others.

use imagefs::Kind;

use crate::site::apps::{Application, Look, Recognised, within};

/// Its rules; `{base}` is the folder it lies in and `{home}` the one that its pages begin at, each empty for the document root.
/// What is no page of the site is not run. Posts with a password work: signing in to one keeps nothing but a cookie. Plugins
/// read through `admin-ajax.php`. A site that cannot change has no clock of its own, updates and installs nothing, and
/// there is no network to call.
const RULES: &str = r#"
[site]
deny = ["{base}/wp-config.php", "{base}/wp-config-sample.php", "{base}/wp-content/database/**",
        "{base}/wp-content/uploads/**/*.php", "{base}/wp-content/debug.log", "*.sqlite"]
[site.headers]
"{base}/wp-content/**" = { cache-control = "public, max-age=86400" }
"{base}/wp-includes/**" = { cache-control = "public, max-age=86400" }
[read_only]
screens = ["{base}/wp-login.php", "{base}/wp-signup.php", "{base}/wp-activate.php", "{base}/wp-admin/**", "{base}/wp-cron.php",
           "{base}/wp-mail.php", "{base}/wp-trackback.php", "{base}/xmlrpc.php"]
forms = ["{base}/wp-comments-post.php", "{home}/wp-json/**"]
except = ["{base}/wp-login.php?action=postpass", "{base}/wp-admin/admin-ajax.php"]
[constants]
AUTOMATIC_UPDATER_DISABLED = true
DISABLE_WP_CRON = true
DISALLOW_FILE_MODS = true
WP_HTTP_BLOCK_EXTERNAL = true
[warmup]
urls = ["{home}/", "{home}/?p=1", "{home}/feed/"]
"#;

/// Where WordPress has the document root for itself, its front controller and the scripts beside it are all that runs.
const WHOLE: &str = r#"
site.front_controller = "/index.php"
site.php = ["/index.php", "/wp-*.php", "/xmlrpc.php", "/wp-admin/**/*.php", "/wp-includes/js/tinymce/*.php"]
"#;

/// Its own files in a folder, its pages at the root.
const OWN_FOLDER: &str = r#"
site.front_controller = "/index.php"
"#;

/// A site in a folder.
const IN_FOLDER: &str = r#"
site.front_controllers = { "{base}/**" = "{base}/index.php" }
"#;

/// The largest `index.php` that is searched for what loads WordPress; its own has 400 bytes.
const INDEX_BYTES_MAX: u64 = 64 << 10;

/// WordPress in a document root.
///
/// # Errors
/// When a file that tells how it is installed cannot be read.
pub(crate) fn recognise(site: &dyn Look, root: &str) -> Result<Option<Recognised>, imagefs::Error> {
    let is_file = |name: &str| site.kind(&within(root, name)) == Some(Kind::Regular);
    let lies_in = |base: &str| is_file(&format!("{base}wp-includes/version.php"));
    if lies_in("") {
        return Ok(Some(recognised("", "", WHOLE)));
    }
    let mut folders = site.names(root).into_iter();
    let folder = folders.find(|name| is_plain(name) && lies_in(&format!("{name}/")));
    let Some(folder) = folder else {
        return Ok(None);
    };
    let base = format!("/{folder}");
    let index = site.read(&within(root, "index.php"), INDEX_BYTES_MAX)?;
    let loader = b"wp-blog-header.php";
    let loads_it =
        index.is_some_and(|index| index.windows(loader.len()).any(|part| part == loader));
    Ok(if loads_it {
        Some(recognised(&base, "", OWN_FOLDER))
    } else {
        let has_index = is_file(&format!("{folder}/index.php"));
        has_index.then(|| recognised(&base, &base, IN_FOLDER))
    })
}

/// Whether a folder's name means itself in a pattern and in TOML.
fn is_plain(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !name.starts_with('.') && name.len() <= 64 && name.bytes().all(is_plain)
}

fn recognised(base: &str, home: &str, front: &str) -> Recognised {
    let fill = |text: &&str| text.replace("{base}", base).replace("{home}", home);
    Recognised {
        name: "WordPress",
        application: Some(Application::WordPress),
        rules: [RULES, front].iter().map(fill).collect(),
    }
}
