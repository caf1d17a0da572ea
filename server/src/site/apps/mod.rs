//! What lies in a site, and the rules that fit it: each kind of application has its own as the text of a manifest, and what the
//! site's own manifest says wins over it, key by key.

pub(crate) mod wordpress;

use imagefs::{Image, Kind};

/// What is asked about the files of a site before it is served: those of an image, or those that will be packed. Paths are
/// relative to the top, without a slash at either end; symlinks are followed.
pub trait Look {
    /// What lies at a path.
    fn kind(&self, path: &str) -> Option<Kind>;
    /// The names in a directory, those that are UTF-8.
    fn names(&self, directory: &str) -> Vec<String>;
    /// What a regular file holds, unless it is larger than `max`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, imagefs::Error>;
    /// Where programs are to see the site, if who packs it said so.
    fn at(&self) -> Option<String> {
        None
    }
}

impl Look for Image {
    fn kind(&self, path: &str) -> Option<Kind> {
        if path.is_empty() {
            return Some(Kind::Directory);
        }
        let ino = self.resolve(self.root(), path.as_bytes(), true).ok()?;
        Some(Image::kind(self, ino))
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let ino = match directory {
            "" => Ok(self.root()),
            _ => self.resolve(self.root(), directory.as_bytes(), true),
        };
        let Ok(ino) = ino else {
            return Vec::new();
        };
        let names = self.read_dir(ino).map(|entry| entry.name.to_vec());
        names
            .filter_map(|name| String::from_utf8(name).ok())
            .collect()
    }

    fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, imagefs::Error> {
        let Ok(ino) = self.resolve(self.root(), path.as_bytes(), true) else {
            return Ok(None);
        };
        let fits = Image::kind(self, ino) == Kind::Regular && self.stat(ino).size <= max;
        fits.then(|| self.bytes(ino).map(Into::into)).transpose()
    }

    fn at(&self) -> Option<String> {
        Image::at(self)
    }
}

/// A known application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    WordPress,
}

impl Application {
    /// Its name for the guest.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Application::WordPress => "wordpress",
        }
    }
}

/// What was recognised.
#[derive(Debug)]
pub(crate) struct Recognised {
    /// What it is called before people.
    pub(crate) name: &'static str,
    pub(crate) application: Option<Application>,
    /// Its rules, in the form of manifests; of two that say something about a key, the later one.
    pub(crate) rules: Vec<String>,
}

/// Folders that projects keep apart for what visitors may see, most frequent first: Symfony, Laravel and most that Composer
/// installs, Drupal and Bedrock, Acquia, Magento, CakePHP, hosters.
const PUBLIC: [&str; 6] = ["public", "web", "docroot", "pub", "webroot", "htdocs"];

/// Where a PHP site lives unless somebody says otherwise. Not at `/`: scripts cut the document root off paths, and one of a single
/// slash takes all slashes with it, or a letter too many.
const HOME: &str = "/site";

/// What a site without scripts is called.
const FILES: &str = "files";

/// What makes the top of a site its document root.
const INDEX: [&str; 3] = ["index.php", "index.html", "index.htm"];

/// Looks what a site is. `root` is what its manifest says about the document root.
///
/// # Errors
/// When a file that tells cannot be read.
pub(crate) fn recognise(site: &dyn Look, root: Option<&str>) -> Result<Recognised, imagefs::Error> {
    let is_file = |path: &str| site.kind(path) == Some(Kind::Regular);
    let found = match root {
        Some(_) => None,
        None if INDEX.iter().any(|name| is_file(name)) => None,
        None => (PUBLIC.iter()).find(|folder| is_file(&format!("{folder}/index.php"))),
    };
    let root = root.or(found.copied()).unwrap_or_default();
    let root = root.trim_matches('/');
    let mut recognised = wordpress::recognise(site, root)?.unwrap_or_else(|| plain(site, root));
    if recognised.name != FILES {
        recognised.rules.push(format!("site.at = \"{HOME}\""));
    }
    if let Some(folder) = found {
        (recognised.rules).push(format!("site.root = \"/{folder}\""));
    }
    Ok(recognised)
}

/// The path of something in a directory of the site.
fn within(directory: &str, name: &str) -> String {
    format!("{directory}/{name}")
        .trim_start_matches('/')
        .to_owned()
}

/// PHP with an `index.php`, or only files.
fn plain(site: &dyn Look, root: &str) -> Recognised {
    let is_file = |name: &str| site.kind(&within(root, name)) == Some(Kind::Regular);
    if !is_file("index.php") {
        return Recognised {
            name: FILES,
            application: None,
            rules: Vec::new(),
        };
    }
    // Composer's libraries; a folder of that name below a public one holds what they publish.
    let libraries = match is_file("vendor/autoload.php") {
        true => "\"/vendor/**\", ",
        false => "",
    };
    Recognised {
        name: "PHP",
        application: None,
        rules: vec![format!(
            "[site]\nfront_controller = \"/index.php\"\n\
             deny = [{libraries}\"composer.json\", \"composer.lock\", \"*.log\"]\n\
             [warmup]\nurls = [\"/\"]\n"
        )],
    }
}
