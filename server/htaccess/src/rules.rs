//! The rules of a site: what its `.htaccess` files say, read once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::files::Files;
use crate::finding::{Class, Finding};
use crate::limits::{FILE_BYTES_MAX, FILES_MAX, LoadError, Quota, TOTAL_BYTES_MAX};
use crate::module::authorization::Authorization;
use crate::reader::Reader;
use crate::section::Section;

/// What is known of a site beside its files.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The path that its URLs begin at, as files and scripts name it.
    pub document_root: &'a [u8],
    /// What a directory's index is called where no file says so.
    pub index: &'a [String],
}

/// The rules of a site.
#[derive(Debug)]
pub struct Rules {
    /// Without a slash at its end.
    pub(crate) document_root: Vec<u8>,
    pub(crate) index: Vec<Vec<u8>>,
    /// What holds where no file says anything.
    pub(crate) top: Arc<Section>,
    /// What holds in a directory that has a file, those above it included.
    merged: HashMap<Vec<u8>, Arc<Section>>,
    /// What its file alone says.
    own: HashMap<Vec<u8>, Arc<Section>>,
    findings: Vec<Finding>,
}

impl Rules {
    /// Reads the files of a site, given as the paths of their directories and their bytes. Only those of the document
    /// root and below it hold, as with `AllowOverride All` for it alone.
    ///
    /// # Errors
    ///
    /// When there is more of something than a site may have.
    pub fn read<D: AsRef<[u8]>, B: AsRef<[u8]>>(
        site: &Site<'_>,
        inputs: &[(D, B)],
        files: &dyn Files,
    ) -> Result<Rules, LoadError> {
        let mut rules = Rules {
            document_root: bare(site.document_root).to_vec(),
            index: site.index.iter().map(|name| name.clone().into()).collect(),
            top: Arc::new(Section {
                authorization: Some(Arc::new(Authorization::open())),
                ..Section::default()
            }),
            merged: HashMap::new(),
            own: HashMap::new(),
            findings: Vec::new(),
        };
        let mut quota = Quota::default();
        let mut next_id = 1;
        let mut total = 0;
        let mut sorted: Vec<(&[u8], &[u8])> = inputs
            .iter()
            .map(|(directory, bytes)| (bare(directory.as_ref()), bytes.as_ref()))
            .collect();
        // Directories above come before those below.
        sorted.sort_unstable();
        for (index, (directory, bytes)) in sorted.into_iter().enumerate() {
            let file = format!("{}/.htaccess", String::from_utf8_lossy(directory));
            let over = |what, max| LoadError::Limit {
                file: file.clone(),
                what,
                max,
            };
            if index >= FILES_MAX {
                return Err(over(".htaccess files", FILES_MAX));
            }
            if bytes.len() > FILE_BYTES_MAX {
                return Err(over("bytes in a .htaccess file", FILE_BYTES_MAX));
            }
            total += bytes.len();
            if total > TOTAL_BYTES_MAX {
                return Err(over("bytes in .htaccess files", TOTAL_BYTES_MAX));
            }
            if !rules.is_below_root(directory) {
                rules.findings.push(Finding {
                    file,
                    line: 1,
                    class: Class::Ignored,
                    directive: ".htaccess".to_owned(),
                    message: "outside of the site's root: nothing in it holds".to_owned(),
                });
                continue;
            }
            let mut reader = Reader::new(&file, directory, files, &mut quota, &mut next_id);
            let section = reader.read(bytes)?;
            rules.findings.append(&mut reader.findings);
            let above = match directory == rules.document_root {
                true => Arc::clone(&rules.top),
                false => rules.section(crate::uri::parent(directory)),
            };
            let merged = Arc::new(above.merged(&section));
            rules.merged.insert(directory.to_vec(), merged);
            rules.own.insert(directory.to_vec(), Arc::new(section));
        }
        Ok(rules)
    }

    fn is_below_root(&self, directory: &[u8]) -> bool {
        directory
            .strip_prefix(self.document_root.as_slice())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }

    /// What is not understood, in the order of files and lines.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether no file says anything.
    pub fn is_empty(&self) -> bool {
        self.merged.is_empty()
    }

    /// What holds in a directory.
    pub(crate) fn section(&self, directory: &[u8]) -> Arc<Section> {
        let mut path = bare(directory);
        loop {
            if let Some(section) = self.merged.get(path) {
                return Arc::clone(section);
            }
            if path.len() <= self.document_root.len() {
                return Arc::clone(&self.top);
            }
            path = bare(crate::uri::parent(path));
        }
    }

    /// What the file of a directory alone says.
    pub(crate) fn own_section(&self, directory: &[u8]) -> Option<Arc<Section>> {
        self.own.get(bare(directory)).cloned()
    }
}

fn bare(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}
