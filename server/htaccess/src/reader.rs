//! Reads a `.htaccess` file: lines, sections, and which module a directive belongs to.

mod container;
mod directive;
mod known;
mod line;

use crate::files::Files;
use crate::finding::{Class, Finding};
use crate::limits::{LoadError, Quota};
use crate::module::authorization::Node;
use crate::request::Methods;
use crate::rewrite::Rewriting;
use crate::section::Section;
use line::Line;

/// Reads one file.
pub(crate) struct Reader<'a> {
    file: &'a str,
    /// Without a slash at its end.
    directory: &'a [u8],
    files: &'a dyn Files,
    quota: &'a mut Quota,
    next_id: &'a mut u32,
    pub(crate) findings: Vec<Finding>,
}

/// Where directives are read into.
struct Place {
    section: Section,
    /// What rewriting takes for its directory.
    path: Vec<u8>,
    /// `<Limit>`.
    methods: Methods,
    /// `<RequireAll>` and its kin, from the outermost on.
    containers: Vec<Node>,
}

/// A directive that is not done as it stands.
struct Remark {
    class: Class,
    message: String,
}

impl Remark {
    fn new(class: Class, message: impl Into<String>) -> Remark {
        Remark {
            class,
            message: message.into(),
        }
    }
}

/// What became of a directive: a limit may end the reading, a remark does not.
type Read = Result<Option<Remark>, LoadError>;

/// A remark as the result of a directive.
fn remark(class: Class, message: impl Into<String>) -> Read {
    Ok(Some(Remark::new(class, message)))
}

impl Place {
    fn rewriting(&mut self) -> &mut Rewriting {
        let path = self.path.as_slice();
        let slot = self
            .section
            .rewriting
            .get_or_insert_with(|| std::sync::Arc::new(Rewriting::new(path)));
        std::sync::Arc::make_mut(slot)
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        file: &'a str,
        directory: &'a [u8],
        files: &'a dyn Files,
        quota: &'a mut Quota,
        next_id: &'a mut u32,
    ) -> Reader<'a> {
        Reader {
            file,
            directory,
            files,
            quota,
            next_id,
            findings: Vec::new(),
        }
    }

    /// Reads the file's bytes.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Section, LoadError> {
        let lines = line::lines(bytes, self.file)?;
        let mut place = self.place(self.directory.to_vec(), Methods::ALL);
        let mut rest = lines.as_slice();
        while let Some((line, after)) = rest.split_first() {
            rest = after;
            rest = self.line(line, rest, &mut place, 0)?;
        }
        Ok(place.section)
    }

    /// A place for a new section.
    fn place(&mut self, path: Vec<u8>, methods: Methods) -> Place {
        let id = *self.next_id;
        *self.next_id += 1;
        Place {
            section: Section {
                identity: vec![id],
                ..Section::default()
            },
            path,
            methods,
            containers: Vec::new(),
        }
    }

    /// Reads one line, and those of the section that it opens. Gives the lines behind.
    fn line<'l>(
        &mut self,
        line: &'l Line,
        rest: &'l [Line],
        place: &mut Place,
        depth: usize,
    ) -> Result<&'l [Line], LoadError> {
        self.quota.directive(self.file)?;
        if line.name.starts_with(b"</") {
            let class = Class::WouldDeny;
            self.find(
                line,
                Remark::new(class, "nothing is open that this would close"),
            );
            return Ok(rest);
        }
        if line.name.starts_with(b"<") {
            return self.container(line, rest, place, depth);
        }
        if let Some(remark) = self.directive(line, place)? {
            self.find(line, remark);
        }
        Ok(rest)
    }

    /// Reads the lines of a section into a place.
    fn lines(&mut self, lines: &[Line], place: &mut Place, depth: usize) -> Result<(), LoadError> {
        let mut rest = lines;
        while let Some((line, after)) = rest.split_first() {
            rest = self.line(line, after, place, depth)?;
        }
        Ok(())
    }

    fn find(&mut self, line: &Line, remark: Remark) {
        self.findings.push(Finding {
            file: self.file.to_owned(),
            line: line.number,
            class: remark.class,
            directive: crate::text::show(&line.shown),
            message: remark.message,
        });
    }

    /// Takes patterns from the quota.
    fn patterns(&mut self, sizes: &[usize]) -> Result<(), LoadError> {
        let mut sizes = sizes.iter();
        sizes.try_for_each(|size| self.quota.pattern(*size, self.file))
    }
}
