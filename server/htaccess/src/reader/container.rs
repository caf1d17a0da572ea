//! Sections within a file.

use super::line::Line;
use super::{Place, Reader, Remark, known};
use crate::expression;
use crate::finding::Class;
use crate::limits::{LoadError, NESTING_MAX};
use crate::module::authorization::{Logic, Node, method_of};
use crate::pattern::Pattern;
use crate::request::Methods;
use crate::section::{Branch, FilesSection, IfSection, Names, part};
use crate::text::Words;
use std::sync::Arc;

/// What a section's first line asks.
enum Opened {
    /// Its lines hold, or not.
    Plain(bool),
    Files(Names),
    If(Branch),
    Limit(Methods),
    Require(Node),
}

impl Reader<'_> {
    /// Reads a section. Gives the lines behind it.
    pub(super) fn container<'l>(
        &mut self,
        line: &Line,
        rest: &'l [Line],
        place: &mut Place,
        depth: usize,
    ) -> Result<&'l [Line], LoadError> {
        let Some(end) = closing(&line.name, rest) else {
            let message = "the section is not closed: Apache refuses everything here";
            self.find(line, Remark::new(Class::WouldDeny, message));
            return Ok(&[]);
        };
        let (inner, after) = (&rest[..end], &rest[end + 1..]);
        if depth >= NESTING_MAX {
            return Err(LoadError::Limit {
                file: self.file.to_owned(),
                what: "sections within sections",
                max: NESTING_MAX,
            });
        }
        match self.open(line)? {
            Ok(opened) => self.inside(line, opened, inner, place, depth + 1)?,
            Err(message) => {
                let class = match denies(inner) {
                    true => Class::WouldDeny,
                    false => Class::Ignored,
                };
                self.find(line, Remark::new(class, message));
            }
        }
        Ok(after)
    }

    fn open(&mut self, line: &Line) -> Result<Result<Opened, String>, LoadError> {
        let Some(last) = line.arguments.iter().rposition(|&b| b == b'>') else {
            return Ok(Err("the closing > is missing".to_owned()));
        };
        let argument = &line.arguments[..last];
        let opened = match line.name.as_slice() {
            b"<ifmodule" => given(argument, known::has_module),
            b"<ifdefine" => given(argument, |_| false),
            b"<iffile" => given(argument, |path| {
                let path = crate::uri::normalise(path);
                path.is_some_and(|path| self.files.stat(&path).is_some())
            }),
            b"<ifversion" => known::is_version(argument).map(Opened::Plain),
            b"<files" | b"<filesmatch" => return self.open_files(line, argument),
            b"<if" => return self.open_if(argument, Branch::If),
            b"<elseif" => return self.open_if(argument, Branch::ElseIf),
            b"<else" => Ok(Opened::If(Branch::Else)),
            b"<limit" => methods(argument).map(Opened::Limit),
            b"<limitexcept" => methods(argument).map(|m| Opened::Limit(m.inverted())),
            b"<requireall" => Ok(Opened::Require(Node::container(Logic::All, false))),
            b"<requireany" => Ok(Opened::Require(Node::container(Logic::Any, false))),
            b"<requirenone" => Ok(Opened::Require(Node::container(Logic::Any, true))),
            b"<directory" | b"<directorymatch" | b"<location" | b"<locationmatch"
            | b"<virtualhost" | b"<proxy" | b"<proxymatch" => {
                Err("not allowed in .htaccess: Apache refuses everything here".to_owned())
            }
            _ => Err("an unknown section: nothing in it holds".to_owned()),
        };
        Ok(opened)
    }

    fn open_files(
        &mut self,
        line: &Line,
        argument: &[u8],
    ) -> Result<Result<Opened, String>, LoadError> {
        let mut words = Words::new(argument);
        let Some(mut name) = words.next() else {
            return Ok(Err("a name is missing".to_owned()));
        };
        let mut by_pattern = line.name == b"<filesmatch";
        if !by_pattern && name == b"~" {
            by_pattern = true;
            name = words.next().unwrap_or_default();
        }
        if !by_pattern {
            return Ok(Ok(Opened::Files(Names::of(name))));
        }
        match Pattern::new(&name, false) {
            Ok(pattern) => {
                self.patterns(&[pattern.size()])?;
                Ok(Ok(Opened::Files(Names::Matching(pattern))))
            }
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn open_if(
        &mut self,
        argument: &[u8],
        branch: fn(expression::Condition) -> Branch,
    ) -> Result<Result<Opened, String>, LoadError> {
        let text = Words::new(argument).next().unwrap_or_default();
        match expression::condition(&text) {
            Ok(condition) => {
                let mut sizes = Vec::new();
                condition.patterns(&mut sizes);
                self.patterns(&sizes)?;
                Ok(Ok(Opened::If(branch(condition))))
            }
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn inside(
        &mut self,
        line: &Line,
        opened: Opened,
        inner: &[Line],
        place: &mut Place,
        depth: usize,
    ) -> Result<(), LoadError> {
        match opened {
            Opened::Plain(false) => {}
            Opened::Plain(true) => self.lines(inner, place, depth)?,
            Opened::Limit(methods) => {
                let outer = place.methods;
                place.methods = outer.and(methods);
                self.lines(inner, place, depth)?;
                place.methods = outer;
            }
            Opened::Require(node) => {
                place.containers.push(node);
                self.lines(inner, place, depth)?;
                let node = place.containers.pop().expect("it was pushed above");
                let outer = match place.containers.last_mut() {
                    Some(outer) => outer,
                    None => part(&mut place.section.authorization).root(),
                };
                if let Err(message) = outer.add(node) {
                    self.find(line, Remark::new(Class::WouldDeny, message));
                }
            }
            Opened::Files(names) => {
                let path = Words::new(&line.arguments).next().unwrap_or_default();
                let mut own = self.place(path, place.methods);
                self.lines(inner, &mut own, depth)?;
                place.section.files.push(Arc::new(FilesSection {
                    names,
                    section: own.section,
                }));
            }
            Opened::If(branch) => {
                if !matches!(branch, Branch::If(_)) && place.section.ifs.is_empty() {
                    let message = "there is no <If> before it: Apache refuses everything here";
                    self.find(line, Remark::new(Class::WouldDeny, message));
                    return Ok(());
                }
                let mut own = self.place(b"*If".to_vec(), place.methods);
                self.lines(inner, &mut own, depth)?;
                place.section.ifs.push(Arc::new(IfSection {
                    branch,
                    section: own.section,
                }));
            }
        }
        Ok(())
    }
}

/// A section that holds when its argument is given; `!` turns that round.
fn given(argument: &[u8], holds: impl Fn(&[u8]) -> bool) -> Result<Opened, String> {
    let (negative, rest) = match argument.strip_prefix(b"!") {
        Some(rest) => (true, rest),
        None => (false, argument),
    };
    let word = Words::new(rest).next().ok_or("an argument is missing")?;
    Ok(Opened::Plain(holds(&word) != negative))
}

fn methods(argument: &[u8]) -> Result<Methods, String> {
    let mut methods = Methods::NONE;
    for word in Words::new(argument) {
        methods = methods.with(method_of(&word)?);
    }
    match methods == Methods::NONE {
        true => Err("a method is missing".to_owned()),
        false => Ok(methods),
    }
}

/// Where the section ends that was opened just before.
fn closing(name: &[u8], rest: &[Line]) -> Option<usize> {
    let wanted = [b"</", &name[1..], b">"].concat();
    let mut depth = 0;
    for (index, line) in rest.iter().enumerate() {
        if line.name == name {
            depth += 1;
        } else if line.name == wanted {
            if depth == 0 {
                return Some(index);
            }
            depth -= 1;
        }
    }
    None
}

/// Whether lines would refuse something if they held.
fn denies(lines: &[Line]) -> bool {
    lines.iter().any(|line| {
        let refuses_by_rule =
            line.name == b"rewriterule" && crate::rewrite::would_refuse(&line.arguments);
        let is_block = line.name.starts_with(b"<require") || line.name.starts_with(b"<limit");
        refuses_by_rule || is_block || known::restricts(&line.name, &line.arguments)
    })
}
